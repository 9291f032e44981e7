"""The browser that looks at the pages: the distribution's Chromium, installed where it is missing and can be."""

import shutil

from console import apt
from console.terminal import ConsoleError

PACKAGE = "chromium"
PROGRAMS = (PACKAGE, "google-chrome")


def find_chromium() -> str:
    """The program. Playwright drives it; its own download of a browser is not used.

    Raises:
        ConsoleError: there is none, and it cannot be installed here.
    """
    found = _on_path()
    if found is None and apt.can_install():
        apt.refresh()
        if apt.candidate(PACKAGE):
            apt.install(PACKAGE)
            found = _on_path()
    if found is None:
        raise ConsoleError(
            f"tests/ui need Chromium on PATH, as {' or '.join(PROGRAMS)}: there is none; install it (Debian has the "
            f"package {PACKAGE}), or leave these tests out: make test ARGS='--ignore tests/ui'"
        )
    return found


def _on_path() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)
