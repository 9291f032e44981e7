"""Text from media, file names and models, made fit for Postgres and for a terminal."""

import hashlib
import unicodedata

from pydantic import JsonValue

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_PATH_BYTES = 2_000
CONTROL_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
JOINERS = {"\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}


def storable(text: str) -> str:
    """`text` with what Postgres refuses, NUL and lone surrogates, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", REPLACEMENT)


def storable_json(value: JsonValue) -> JsonValue:
    """`value` with every string in it, keys too, made storable."""
    match value:
        case str():
            return storable(value)
        case list():
            return [storable_json(element) for element in value]
        case dict():
            return {storable(key): storable_json(element) for key, element in value.items()}
        case _:
            return value


def storable_path(path: str) -> str:
    r"""`path` as text that Postgres takes and a person can read.

    Bytes that are not UTF-8 and NUL are written `\xNN`. A path over 2,000 bytes, too long for an
    index, is cut and ends in a hash that tells it from others.
    """
    raw = path.encode("utf-8", "surrogateescape") if _is_surrogate_escaped(path) else storable(path).encode()
    shown = raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    encoded = shown.encode()
    if len(encoded) <= MAX_PATH_BYTES:
        return shown
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return f"{encoded[: MAX_PATH_BYTES - 32].decode('utf-8', 'ignore')}… {digest}"


def _is_surrogate_escaped(path: str) -> bool:
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    r"""`text` on one line, for a terminal: control, format and private characters are written `\xNN`.

    What is left cannot move the cursor, change colours, or turn the direction of writing around.
    """
    return "".join(_shown(character) for character in text)


def printable_prose(text: str) -> str:
    """As `printable`, with runs of white space, line breaks among it, made one space."""
    return printable(" ".join(text.split()))


def _shown(character: str) -> str:
    if unicodedata.category(character) in CONTROL_CATEGORIES and character not in JOINERS:
        return character.encode("unicode_escape").decode("ascii")
    return character
