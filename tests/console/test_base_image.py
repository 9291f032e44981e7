"""What of this machine's package archives goes into an image."""

from pathlib import Path

import pytest

from console.base_image import DEBIAN_KEYRING, refuse_passwords, with_known_keyrings
from console.terminal import ConsoleError


@pytest.mark.parametrize(
    "content",
    [
        "deb https://me:secret@mirror.example/debian bookworm main\n",
        "deb [arch=amd64] http://me@mirror.example/debian bookworm main\n",
        "Types: deb\nURIs: https://me:secret@mirror.example/debian\nSuites: bookworm\n",
    ],
)
def test_a_password_in_an_archives_address_never_reaches_an_image_or_a_message(content: str) -> None:
    with pytest.raises(ConsoleError, match="must hold no user and password") as told:
        refuse_passwords({"own.list": content})
    assert "secret" not in str(told.value)


def test_addresses_without_a_user_are_taken() -> None:
    refuse_passwords({"own.list": "deb http://mirror.example/debian@2026 bookworm main\n"})


@pytest.mark.parametrize("form", ["Signed-By: {}\n", "deb [arch=amd64 signed-by={}] http://m/debian bookworm main\n"])
def test_a_keyring_that_the_image_lacks_becomes_the_one_it_has(tmp_path: Path, form: str) -> None:
    newer = "/usr/share/keyrings/debian-archive-keyring.pgp"
    assert with_known_keyrings(form.format(newer), tmp_path) == form.format(DEBIAN_KEYRING)


def test_a_keyring_that_the_image_has_stays(tmp_path: Path) -> None:
    own = tmp_path / "etc/apt/keyrings/own.asc"
    own.parent.mkdir(parents=True)
    own.touch()
    content = "Signed-By: /etc/apt/keyrings/own.asc\n"
    assert with_known_keyrings(content, tmp_path) == content
