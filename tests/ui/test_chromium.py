"""Where the browser comes from."""

import pytest

from console import apt
from console.terminal import ConsoleError
from tests.ui.chromium import find_chromium


def test_a_browser_on_path_is_taken(tmp_path, monkeypatch):
    program = tmp_path / "google-chrome"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_chromium() == str(program)


def test_a_missing_browser_is_installed_where_it_can_be(tmp_path, monkeypatch):
    done = []
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(apt, "can_install", lambda: True)
    monkeypatch.setattr(apt, "refresh", lambda: done.append("refresh"))
    monkeypatch.setattr(apt, "candidate", lambda package: "1")

    def install(package):
        (tmp_path / package).touch(mode=0o755)
        done.append(package)

    monkeypatch.setattr(apt, "install", install)
    assert find_chromium() == str(tmp_path / "chromium")
    assert done == ["refresh", "chromium"]


def test_without_a_browser_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(apt, "can_install", lambda: False)
    with pytest.raises(ConsoleError, match=r"install it .*--ignore tests/ui"):
        find_chromium()
