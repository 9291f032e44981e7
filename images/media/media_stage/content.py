"""What the first bytes of a file tell, before any tool opens it. Pure."""

import codecs
import re
from collections.abc import Iterator

from stage_contract.result import Rejection
from stage_contract.vocabulary import Reason

PLAYLIST_STARTS = (
    b"#extm3u",
    b"ffconcat version",
    b"[playlist]",
    b"[reference]",
    b"# vobsub index file",
    b"rtsptext",
    b"rtsp://",
    b"mms://",
    b"http://",
    b"https://",
    b"file://",
)
PLAYLIST_ELEMENT = re.compile(
    rb"<(\w+:)?(MPD|SmoothStreamingMedia|CompositionPlaylist|AssetMap|asx|smil|playlist)\b", re.IGNORECASE
)
SESSION_DESCRIPTION = re.compile(rb"^c=IN IP[46] ", re.MULTILINE)

STILL_PICTURE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")

CONTAINER_STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"RIFF",
    b"RF64",
    b"OggS",
    b"FLV\x01",
    b"fLaC",
    b"ID3",
    b"FORM",
    b"caff",
    b".RMF",
    b"\x06\x0e\x2b\x34",  # MXF
    b"\x30\x26\xb2\x75",  # ASF
    b"\x00\x00\x01\xba",  # MPEG program stream
)
BOX_NAMES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")

TS_PACKET_BYTES = 188
TS_SYNC = 0x47
TS_PACKETS_TO_BE_SURE = 5


def refusal(head: bytes) -> Rejection | None:
    """Why a file that begins with `head` (its first 64 KiB, or all of it) is not opened; none when it may be."""
    if not head:
        return Rejection(
            reason=Reason.EMPTY, message="media must have content: the file has 0 bytes; copy it again from its origin"
        )
    if is_playlist(head):
        return Rejection(
            reason=Reason.PLAYLIST,
            message="media must be in the file itself: this is a playlist or stream description that points to other "
            "files or addresses, which are never opened; add those files to the archive instead",
        )
    if head[4:8] == b"ftyp" and head[8:12] in STILL_PICTURE_BRANDS:
        return still_picture(head[8:12].decode())
    if is_text(head):
        return Rejection(
            reason=Reason.NOT_MEDIA,
            message="media must be video or sound: this file holds text, whatever its name; see where it came from",
        )
    if is_scrambled_transport_stream(head):
        return encrypted("the transport stream is scrambled")
    return None


def still_picture(kind: str) -> Rejection:
    """The rejection of a still picture of the given kind."""
    return Rejection(
        reason=Reason.UNSUPPORTED,
        message=f"media must be video or sound: this file is a still picture ({kind}), whatever its name says; "
        "keep it in a picture archive",
    )


def encrypted(how: str) -> Rejection:
    """The rejection of media that needs a key."""
    return Rejection(
        reason=Reason.ENCRYPTED,
        message=f"media must be readable without a key: {how}; put a decrypted copy into the archive",
    )


def is_playlist(head: bytes) -> bool:
    """Whether the content only points to other content: HLS, ffconcat, DASH, SDP, PLS, ASX, SMIL and the like."""
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start[:64].lower().startswith(PLAYLIST_STARTS):
        return True
    if start.startswith(b"<"):
        return PLAYLIST_ELEMENT.search(start) is not None
    return is_text(head) and SESSION_DESCRIPTION.search(head) is not None


def is_text(head: bytes) -> bool:
    """Whether the bytes are text, in UTF-8 or marked UTF-16. A character cut off at the end does not count against."""
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    controls = sum(1 for c in text if c < " " and c not in "\t\n\r\f\x1b")
    return controls == 0


def looks_like_a_container(head: bytes) -> bool:
    """Whether the file begins as a media container does, readable or not."""
    return head.startswith(CONTAINER_STARTS) or head[4:8] in BOX_NAMES or any(_transport_packets(head))


def is_scrambled_transport_stream(head: bytes) -> bool:
    """Whether most of an MPEG transport stream's packets with a payload are scrambled (ISO/IEC 13818-1, 2.4.3.3)."""
    flags = [packet[3] for packet in _transport_packets(head) if packet[3] & 0x10]
    return sum(1 for flag in flags if flag & 0xC0) > len(flags) / 2


def _transport_packets(head: bytes) -> Iterator[bytes]:
    starts = range(0, len(head) - TS_PACKET_BYTES + 1, TS_PACKET_BYTES)
    if len(starts) >= TS_PACKETS_TO_BE_SURE and all(head[start] == TS_SYNC for start in starts):
        yield from (head[start : start + TS_PACKET_BYTES] for start in starts)
