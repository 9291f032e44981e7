"""Debian's archives as this machine names them, turned to another release."""

from pathlib import Path

import pytest

from console.apt import debian_sources, mirror, os_release

STANZAS = """\
Types: deb
URIs: https://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/bookworm.gpg

Types: deb
URIs: https://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://other.example/debian
Suites: bookworm-pgdg
Components: main

Types: deb
Enabled: no
URIs: https://off.example/debian
Suites: bookworm
Components: main
"""
LINES = """\
# deb https://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/bookworm.gpg] https://mirror.example/bookworm bookworm main contrib
deb https://mirror.example/security bookworm-security main
deb-src https://mirror.example/debian bookworm main
deb https://packages.example/linux/debian bookworm stable
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    return tmp_path


def test_stanzas_keep_their_mirror_and_key_and_change_only_the_suite(machine: Path) -> None:
    (machine / "etc/apt/sources.list.d/debian.sources").write_text(STANZAS)
    first, second = debian_sources("trixie", machine).values()
    assert "Suites: trixie trixie-updates\n" in first
    assert "URIs: https://mirror.example/debian\n" in first
    assert "Signed-By: /usr/share/keyrings/bookworm.gpg\n" in first
    assert "Suites: trixie-security\n" in second
    assert mirror("trixie", machine) == "https://mirror.example/debian"


def test_lines_keep_their_options_and_archives_of_others_are_left_out(machine: Path) -> None:
    (machine / "etc/apt/sources.list").write_text(LINES)
    assert debian_sources("trixie", machine) == {
        "own.list": "deb [arch=amd64 signed-by=/bookworm.gpg] https://mirror.example/bookworm trixie main contrib\n"
        "deb https://mirror.example/security trixie-security main\n"
    }
    assert mirror("trixie", machine) == "https://mirror.example/bookworm"


def test_a_file_of_mirrors_gives_its_first_mirror(machine: Path) -> None:
    (machine / "etc/apt/mirrors").mkdir()
    (machine / "etc/apt/mirrors/debian.list").write_text("https://near.example/debian\nhttps://far.example/debian\n")
    (machine / "etc/apt/sources.list").write_text("deb mirror+file:///etc/apt/mirrors/debian.list bookworm main\n")
    assert mirror("bookworm", machine) == "https://near.example/debian"


def test_another_distribution_has_no_debian_archive(machine: Path) -> None:
    (machine / "etc/os-release").write_text("ID=ubuntu\nVERSION_CODENAME=noble\n")
    (machine / "etc/apt/sources.list").write_text("deb https://mirror.example/ubuntu noble main\n")
    assert debian_sources("trixie", machine) == {}
    assert mirror("bookworm", machine) is None


def test_a_machine_without_the_file_has_no_release(tmp_path: Path) -> None:
    assert os_release(tmp_path) == {}
