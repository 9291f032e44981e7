"""Debian and Ubuntu packages: installed on the machine, or fetched and unpacked in a folder of ours."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from console.terminal import LOGS, run

MACHINE = Path("/")
LOCK_WAIT = "DPkg::Lock::Timeout=300"


def os_release(machine: Path = MACHINE) -> dict[str, str]:
    """What the distribution says of itself: `ID`, `VERSION_CODENAME` and so on; empty without the file."""
    path = machine / "etc/os-release"
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name: value.strip("\"'") for name, _, value in pairs}


def can_install() -> bool:
    """Whether packages can be installed here: root, and apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def refresh() -> None:
    """Read the package lists anew.

    Raises:
        ConsoleError: apt could not.
    """
    run(["apt-get", "-o", LOCK_WAIT, "update"], log=LOGS / "apt-update.log", title="read the package lists")


def install(*packages: str) -> None:
    """Install packages without what they merely recommend. The lists must have been read.

    Raises:
        ConsoleError: apt could not.
    """
    run(
        ["apt-get", "-o", LOCK_WAIT, "install", "--yes", "--no-install-recommends", *packages],
        log=LOGS / "apt-install.log",
        title=f"install {' '.join(packages)}",
        environment={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )


def candidate(package: str) -> str | None:
    """The version that apt would install, without its epoch; none when apt knows no such package."""
    told = subprocess.run(
        ["apt-cache", "policy", package],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    found = re.search(r"^\s*Candidate: (?:\d+:)?(\S+)$", told.stdout, re.MULTILINE)
    return None if found is None or found[1] == "(none)" else found[1]


def debian_sources(suite: str, machine: Path = MACHINE) -> dict[str, str]:
    """This machine's own Debian archives, turned to another release; `machine` is the root of its files.

    Returns contents by file name (`own.list` in one-line style, `own-N.sources` in deb822), so that its
    mirrors, keys and options are kept. Archives of others are left out; empty when there is no Debian's.
    """
    release = os_release(machine)
    codename = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or not codename:
        return {}
    directory = machine / "etc/apt"
    lists = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*.list"))]
    lines = [
        re.sub(rf"\s{codename}(-updates|-security)?\s", rf" {suite}\1 ", line)
        for path in lists
        if path.exists()
        for line in path.read_text().splitlines()
        if re.match(rf"deb\s+(\[[^]]*\]\s+)?\S+\s+{codename}(-updates|-security)?\s+main\b", line)
    ]
    found = {"own.list": "\n".join(lines) + "\n"} if lines else {}
    for path in sorted((directory / "sources.list.d").glob("*.sources")):
        stanzas = re.split(r"\n\s*\n", path.read_text().strip())
        for stanza in (s for s in stanzas if _is_debian_stanza(s, codename)):
            turned = re.sub(r"^(Suites:.*)$", lambda m: m[1].replace(codename, suite), stanza, flags=re.MULTILINE)
            found[f"own-{len(found)}.sources"] = turned + "\n"
    return {name: _without_mirror_lists(content, machine) for name, content in found.items()}


def mirror(suite: str, machine: Path = MACHINE) -> str | None:
    """The first Debian archive of this machine, for debootstrap; none leaves debootstrap its own default."""
    for content in debian_sources(suite, machine).values():
        plain = re.search(rf"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+{suite}\s", content, re.MULTILINE)
        stanza = re.search(rf"^Suites:.*\b{suite}(\s|$)", content, re.MULTILINE)
        address = re.search(r"^URIs:\s*(\S+)", content, re.MULTILINE) if stanza else plain
        if address:
            return address[1]
    return None


def unpack(packages: tuple[str, ...], sources: dict[str, str], directory: Path) -> Path:
    """Fetch packages, signatures checked, and unpack them under `directory`, installing nothing.

    `sources` stands in for the machine's own list of archives. Needs no root. Returns where the files lie.

    Raises:
        ConsoleError: apt could not.
    """
    shutil.rmtree(directory, ignore_errors=True)
    for name in ("sources", "lists/partial", "cache/archives/partial", "files"):
        (directory / name).mkdir(parents=True)
    (directory / "status").touch()
    options = [
        f"Dir::State={directory}",
        f"Dir::State::lists={directory}/lists",
        f"Dir::State::status={directory}/status",
        f"Dir::Cache={directory}/cache",
        "Dir::Etc::sourcelist=/dev/null",
        f"Dir::Etc::sourceparts={directory}/sources",
    ]
    for name, content in sources.items():
        (directory / "sources" / name).write_text(content)
    apt_get = ["apt-get", *(part for option in options for part in ("-o", option))]
    run([*apt_get, "update"], log=LOGS / "apt-update.log", title="read the package lists")
    run(
        [*apt_get, "download", *packages],
        log=LOGS / "apt-download.log",
        title=f"fetch {' '.join(packages)}",
        directory=directory,
    )
    for package in directory.glob("*.deb"):
        run(["dpkg-deb", "-x", package, directory / "files"], log=LOGS / "unpack.log", title=f"unpack {package.name}")
        package.unlink()
    shutil.rmtree(directory / "lists")
    shutil.rmtree(directory / "cache")
    return directory / "files"


def _is_debian_stanza(stanza: str, codename: str) -> bool:
    fields = dict(re.findall(r"^([A-Za-z-]+):\s*(.*)$", stanza, re.MULTILINE))
    suites = set(fields.get("Suites", "").split())
    return (
        "deb" in fields.get("Types", "").split()
        and fields.get("Enabled", "yes").strip() != "no"
        and "main" in fields.get("Components", "").split()
        and bool(suites)
        and suites <= {codename, f"{codename}-updates", f"{codename}-security", f"{codename}-backports"}
    )


def _without_mirror_lists(content: str, machine: Path) -> str:
    # Cloud images name a file of mirrors, which debootstrap cannot read and which no container has.
    def first_mirror(found: re.Match[str]) -> str:
        mirrors = machine / found[1].lstrip("/")
        return mirrors.read_text().split()[0] if mirrors.exists() else found[0]

    return re.sub(r"mirror\+file:(/\S+)", first_mirror, content)
