"""The two images that all others stand on: the usual ones from a registry, else made from Debian's packages."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from console import apt
from console.engine import docker_environment, docker_succeeds, image_id, image_label
from console.terminal import BUILD, LOGS, REPOSITORY, ConsoleError, progress, run, say, step, tail

DISTRIBUTION_IMAGE = "nightreel/distribution:bookworm"
PYTHON_IMAGE = "python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b"
POSTGRES_IMAGE = "nightreel/postgres:15"
OFFICIAL_POSTGRES_IMAGE = "postgres:15-bookworm@sha256:539ceaaae49b3a7c8a04467cf00cc6788d8e3f1675df41860d86eebc4c40524f"
POSTGRES_DIRECTORY = REPOSITORY / "images" / "postgres"

RELEASE = "bookworm"
INCLUDED_PACKAGES = ("ca-certificates", "python3", "python3-venv")
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
MAKE_SCRIPT = REPOSITORY / "images" / "distribution" / "make_root.sh"
# A registry that is there begins to answer well within this; the layers themselves may take longer.
REGISTRY_ANSWER_S = 20.0
PULL_S = 900.0
RECIPE_LABEL = "nightreel.recipe"


def ensure_distribution_image() -> str:
    """The Debian 12 image with Python 3.11 under `DISTRIBUTION_IMAGE`, pulled or made once.

    Raises:
        ConsoleError: it can be neither pulled nor made here.
    """
    _ensure(DISTRIBUTION_IMAGE, PYTHON_IMAGE, _digest(MAKE_SCRIPT), _make_distribution_image)
    return DISTRIBUTION_IMAGE


def ensure_postgres_image() -> str:
    """PostgreSQL 15 under `POSTGRES_IMAGE`, pulled or built once.

    Raises:
        ConsoleError: it can be neither pulled nor built here.
    """
    _ensure(
        POSTGRES_IMAGE,
        OFFICIAL_POSTGRES_IMAGE,
        recipe_of(POSTGRES_DIRECTORY),
        lambda made_by: build_postgres_image(POSTGRES_IMAGE, made_by),
    )
    return POSTGRES_IMAGE


def _ensure(name: str, official: str, recipe: str, make: Callable[[str], None]) -> None:
    # What was made here stays made here, so that a registry is asked once and not at every start.
    held = image_id(name)
    made_by = image_label(name, RECIPE_LABEL) if held else ""
    if held and (made_by == recipe or held == image_id(official)):
        return
    if made_by or not pull(official, name):
        make(recipe)


def pull(image: str, name: str, otherwise: str = "it is made here from Debian's packages") -> bool:
    """Pull `image` and name it `name`; false when no registry answers, which is told in one line with `otherwise`.

    Raises:
        ConsoleError: the registry answered, but the pull did not end in time.
    """
    log = LOGS / f"pull-{name.replace('/', '-').replace(':', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with step(f"ask a registry for {image.partition('@')[0]}"), log.open("wb") as output:
        process = subprocess.Popen(
            ["docker", "pull", image], env=docker_environment(), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            with progress("pull", lambda: tail(log, 1)[-1] if tail(log, 1) else "the registry is asked"):
                code = _await_pull(process, log)
        finally:
            process.terminate()
            process.wait()
    if code == 0 and docker_succeeds("tag", image, name):
        return True
    said = tail(log, 1)
    say(f"  no registry has it ({said[-1] if said else 'none answered'}); {otherwise}")
    return False


def _await_pull(process: subprocess.Popen[bytes], log: Path) -> int | None:
    """The exit code of `docker pull`; none when no registry answered in time."""
    started_s = time.monotonic()
    while process.poll() is None:
        waited_s = time.monotonic() - started_s
        if waited_s > REGISTRY_ANSWER_S and log.stat().st_size == 0:
            return None
        if waited_s > PULL_S:
            raise ConsoleError(f"a pull must end within {PULL_S:.0f} s: it did not; see {log}, then try again")
        time.sleep(0.2)
    return process.returncode


def _make_distribution_image(recipe: str) -> None:
    if os.geteuid() != 0:
        raise ConsoleError(
            f"{DISTRIBUTION_IMAGE} must be pulled or made: no registry answers, and making it needs root; "
            f"run this once as root, or load it from another machine (`docker save {DISTRIBUTION_IMAGE}`)"
        )
    sources = apt.debian_sources(RELEASE)
    refuse_passwords(sources)
    _ensure_debootstrap()
    # Not in /tmp, which may be mounted without devices, as Debian 13's is.
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nightreel-root-", dir=BUILD) as temporary:
        root = Path(temporary) / "root"
        _bootstrap(root)
        _write_sources(root, sources)
        run(
            ["bash", MAKE_SCRIPT, root, CA_BUNDLE],
            log=LOGS / "distribution-root.log",
            title="apply security updates, leave out manuals and translations",
        )
        run(
            ["bash", "-c", _import_command(), "import", root, recipe, DISTRIBUTION_IMAGE],
            log=LOGS / "distribution-import.log",
            title=f"import {DISTRIBUTION_IMAGE}",
            environment={**docker_environment(), "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "0")},
        )


def _ensure_debootstrap() -> None:
    missing = [] if shutil.which("debootstrap") else ["debootstrap"]
    if not DEBIAN_KEYRING.exists():
        missing.append("debian-archive-keyring")
    if missing and not apt.can_install():
        raise ConsoleError(f"{DISTRIBUTION_IMAGE} is made with debootstrap: install {' and '.join(missing)}")
    if missing:
        apt.refresh()
        apt.install(*missing)


def _bootstrap(root: Path) -> None:
    run(
        [
            "debootstrap",
            "--variant=minbase",
            "--merged-usr",
            f"--keyring={DEBIAN_KEYRING}",
            f"--include={','.join(INCLUDED_PACKAGES)}",
            RELEASE,
            root,
            *filter(None, [apt.mirror(RELEASE)]),
        ],
        log=LOGS / "debootstrap.log",
        title=f"install Debian {RELEASE} with Python 3.11 from packages",
    )


def refuse_passwords(sources: Mapping[str, str]) -> None:
    """Keep users and passwords in archives' addresses out of images, which whoever has them can read.

    Raises:
        ConsoleError: an address holds them.
    """
    if any(re.search(r"://[^/\s]*@", content) for content in sources.values()):
        raise ConsoleError(
            "apt's sources must hold no user and password, since they serve inside the image too: an address below "
            "/etc/apt has the form scheme://user:password@host; use a mirror that needs none, or load "
            f"{DISTRIBUTION_IMAGE} from another machine"
        )


def with_known_keyrings(content: str, root: Path) -> str:
    """Sources whose keyrings are in the image; one that it lacks, such as Debian 13's `.pgp`, becomes bookworm's."""

    def known(found: re.Match[str]) -> str:
        return found[0] if (root / found[0].lstrip("/")).exists() else str(DEBIAN_KEYRING)

    return re.sub(r"(?<=[\s=,])/[^\s,\]]+\.(?:pgp|gpg|asc)\b", known, content)


def _write_sources(root: Path, own: Mapping[str, str]) -> None:
    """Give the image this machine's Debian archives, or those beside the one that debootstrap took."""
    target = root / "etc/apt/sources.list"
    if not own:
        taken = re.search(r"^deb (\S+) ", target.read_text(), re.MULTILINE)
        if taken is None:
            raise ConsoleError(f"debootstrap must name its archive: {target} has no deb line")
        archive = taken[1].rstrip("/")
        own = {
            "own.list": f"deb {archive} {RELEASE} main\ndeb {archive} {RELEASE}-updates main\n"
            f"deb {archive}-security {RELEASE}-security main\n"
        }
    target.unlink()
    for name, content in own.items():
        (root / "etc/apt/sources.list.d" / name).write_text(with_known_keyrings(content, root))


def _import_command() -> str:
    # Sorted names, one owner and one time, so that the same packages give the same layer.
    return (
        'set -euo pipefail; tar -C "$1" --sort=name --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -c . '
        f'| docker import -c "LABEL {RECIPE_LABEL}=$2" -c \'CMD ["/bin/bash"]\' '
        '-c "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" - "$3"'
    )


def build_postgres_image(name: str, recipe: str) -> None:
    """Build our own PostgreSQL 15 from Debian's packages under `name`; `recipe` becomes its label.

    Raises:
        ConsoleError: the build failed.
    """
    build_from_packages(POSTGRES_DIRECTORY, name, recipe)


def build_from_packages(directory: Path, name: str, recipe: str) -> None:
    """Build the image of a folder that stands on the distribution's; `recipe` becomes its label.

    Raises:
        ConsoleError: the build failed.
    """
    base = ensure_distribution_image()
    secret = ["--secret", f"id=ca,src={CA_BUNDLE}"] if CA_BUNDLE.exists() else []
    run(
        [
            *("docker", "build", "--progress", "plain", "--build-arg", f"DISTRIBUTION_IMAGE={base}"),
            *secret,
            *("--label", f"{RECIPE_LABEL}={recipe}", "--tag", name, directory),
        ],
        log=LOGS / f"image-{directory.name}.log",
        title=f"build {name}",
        environment=docker_environment(),
    )


def recipe_of(directory: Path) -> str:
    """Names the content of an image's folder: 16 hex digits that change with its files."""
    return _digest(*sorted(path for path in directory.glob("*") if path.is_file()))


def _digest(*paths: Path) -> str:
    content = hashlib.sha256()
    for path in paths:
        content.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()[:16]
