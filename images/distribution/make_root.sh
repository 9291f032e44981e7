#!/bin/bash
# make_root.sh ROOT CA_BUNDLE: turn a fresh debootstrap into a slim root for a container image.
# Security updates go in, through ROOT's own package sources; manuals, translations and traces of the
# machine go out. CA_BUNDLE is trusted only while this runs, for mirrors behind a company's own authority.
set -euo pipefail
root=$1
ca_bundle=$2
bundle_inside=$root/etc/ssl/certs/ca-certificates.crt

cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'EOF'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/en*
EOF
cat >"$root/etc/apt/apt.conf.d/90slim" <<'EOF'
Acquire::Languages "none";
APT::Install-Recommends "0";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
EOF
# No service starts while packages are installed in a container.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

cp "$bundle_inside" "$root/ca-before"
[ ! -s "$ca_bundle" ] || cp "$ca_bundle" "$bundle_inside"
cp /etc/resolv.conf "$root/etc/resolv.conf"
export DEBIAN_FRONTEND=noninteractive
chroot "$root" apt-get update
chroot "$root" apt-get --yes upgrade
mv "$root/ca-before" "$bundle_inside"

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/var/cache/ldconfig/aux-cache \
  "$root"/debootstrap "$root"/etc/machine-id "$root"/etc/resolv.conf "$root"/etc/hostname "$root"/tmp/*
rm -rf "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/groff/* "$root"/usr/share/lintian/*
find "$root/usr/share/doc" -mindepth 1 -type f ! -name copyright -delete
find "$root/usr/share/doc" -type d -empty -delete
find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 ! -name 'en*' -exec rm -rf {} +
find "$root/usr/lib/python3" "$root"/usr/lib/python3.* -name __pycache__ -prune -exec rm -rf {} +
mkdir -p "$root/var/cache/apt/archives/partial" "$root/var/lib/apt/lists/partial"
