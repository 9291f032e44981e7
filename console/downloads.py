"""Files over HTTPS: a short look whether they can be had, and downloads that go on where they stopped."""

import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from console.content import check_sha256
from console.terminal import ConsoleError, progress

PROBE_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
ATTEMPTS = 5
WAIT_BETWEEN_ATTEMPTS_S = 3.0
CHUNK_BYTES = 1 << 20
NOT_SATISFIABLE = 416

_SILENT_HOSTS: dict[str, str] = {}


def why_unavailable(url: str) -> str | None:
    """Why the file cannot be had, in a few words; none when it can.

    Takes at most 5 s. A host that did not answer is not asked again by this process.
    """
    host = urlsplit(url).netloc
    silence = _SILENT_HOSTS.get(host)
    if silence:
        return silence
    try:
        # One byte of the file itself: hosts that sign their addresses refuse HEAD.
        with _open(url, 0, 0, PROBE_TIMEOUT_S):
            return None
    except HTTPError as error:
        return f"{host} answered {error.code}"
    except (URLError, HTTPException, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        _SILENT_HOSTS[host] = f"{host} cannot be reached ({reason})"
        return _SILENT_HOSTS[host]


def download(url: str, target: Path, sha256: str, title: str) -> None:
    """Download a file to `target`, showing how far it is. What an earlier attempt got is kept and used.

    Raises:
        ConsoleError: the connection broke too often, the host refused, or the content is not the pinned one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Named after the content, so that two versions never end up in one file.
    partial = target.with_name(f"{target.name}.{sha256[:12]}.part")
    partial.touch()
    with progress(title, lambda: f"{title}: {partial.stat().st_size / 1e6:,.0f} MB"):
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _continue(url, partial)
                break
            except (URLError, HTTPException, OSError) as error:
                refused = isinstance(error, HTTPError) and error.code < 500
                if refused or attempt == ATTEMPTS:
                    raise ConsoleError(
                        f"{title}: {urlsplit(url).netloc} must send the whole file, and did not ({error}); "
                        f"{partial.stat().st_size / 1e6:,.0f} MB are kept, run again to go on from there"
                    ) from error
                time.sleep(WAIT_BETWEEN_ATTEMPTS_S)
    check_sha256(partial, sha256, title)
    partial.replace(target)


def _continue(url: str, partial: Path) -> None:
    have_bytes = partial.stat().st_size
    try:
        response = _open(url, have_bytes, None, READ_TIMEOUT_S)
    except HTTPError as error:
        if error.code == NOT_SATISFIABLE and have_bytes:
            return  # nothing is left to send
        raise
    with response, partial.open("ab") as file:
        if response.status != 206:
            file.truncate(0)
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
        if response.length:
            raise HTTPException(f"the connection ended {response.length} bytes early")


def _open(url: str, first_byte: int, last_byte: int | None, timeout_s: float) -> HTTPResponse:
    if urlsplit(url).scheme not in {"https", "http"}:
        raise ConsoleError(f"a model's address must begin with https:// or http://: it is {url}")
    wanted = f"bytes={first_byte}-{'' if last_byte is None else last_byte}"
    request = Request(url, headers={"Range": wanted, "User-Agent": "nightreel"})  # noqa: S310 -- scheme checked above
    return cast(HTTPResponse, urlopen(request, timeout=timeout_s))  # noqa: S310 -- scheme checked above
