"""`media_stage.content`: what a file's first bytes give away."""

import pytest

from media_stage.content import is_text, looks_like_a_container, refusal
from stage_contract.vocabulary import Reason


def transport_stream(scrambled: int, clear: int) -> bytes:
    def packet(control: int) -> bytes:
        return bytes([0x47, 0x01, 0x00, control]) + bytes(184)

    return packet(0x90) * scrambled + packet(0x10) * clear


@pytest.mark.parametrize(
    "head",
    [
        b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n",
        b"\xef\xbb\xbf#EXTM3U\nhttp://203.0.113.7/a.ts\n",
        b"\n\n  #extm3u\n",
        b"#EXTM3U\n\xff\xfe binary follows",
        b"ffconcat version 1.0\nfile secret\n",
        b"v=0\r\no=- 0 0 IN IP4 203.0.113.7\r\nc=IN IP4 203.0.113.7\r\nm=video 5004 RTP/AVP 96\r\n",
        b'<?xml version="1.0"?>\n<MPD type="static"></MPD>',
        b'<smil><body><video src="file:///etc/passwd"/></body></smil>',
        b"<ASX version='3'><entry><ref href='http://203.0.113.7'/></entry></ASX>",
        b"<ns:CompositionPlaylist xmlns:ns='x'></ns:CompositionPlaylist>",
        b"[playlist]\nFile1=http://203.0.113.7/a\n",
        b"[Reference]\nRef1=http://203.0.113.7/a\n",
        b"rtsp://203.0.113.7/camera\n",
        b"# VobSub index file, v7\n",
    ],
)
def test_a_file_that_only_points_elsewhere_is_a_playlist(head: bytes) -> None:
    rejection = refusal(head)
    assert rejection is not None
    assert rejection.reason is Reason.PLAYLIST


@pytest.mark.parametrize(
    "head",
    [
        b"A note about a film.\n",
        "Ein Vermerk über Bänder — später".encode(),
        "Vermerk".encode("utf-16"),
        b"1\n00:00:01",
    ],
)
def test_text_is_no_media(head: bytes) -> None:
    rejection = refusal(head)
    assert rejection is not None
    assert rejection.reason is Reason.NOT_MEDIA


def test_text_that_is_cut_inside_a_character_is_still_text() -> None:
    assert is_text("Bänder".encode()[:2])


def test_bytes_with_control_characters_are_no_text() -> None:
    assert not is_text(b"RIFF\x10\x00\x00\x00WAVEfmt ")


def test_a_file_without_bytes_is_empty() -> None:
    rejection = refusal(b"")
    assert rejection is not None
    assert rejection.reason is Reason.EMPTY


def test_a_telephone_picture_is_told_from_a_film_in_the_same_container() -> None:
    picture, film = refusal(b"\0\0\0\x18ftypheic\0\0\0\0mif1"), refusal(b"\0\0\0\x18ftypisom\0\0\0\0mp41")
    assert picture is not None
    assert picture.reason is Reason.UNSUPPORTED
    assert film is None


def test_a_mostly_scrambled_transport_stream_is_encrypted() -> None:
    rejection = refusal(transport_stream(scrambled=9, clear=3))
    assert rejection is not None
    assert rejection.reason is Reason.ENCRYPTED


def test_a_transport_stream_with_one_scrambled_channel_is_opened() -> None:
    assert refusal(transport_stream(scrambled=3, clear=9)) is None


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypisom", b"\x1aE\xdf\xa3rest", b"OggS", transport_stream(0, 6)])
def test_the_beginning_of_a_container_is_known(head: bytes) -> None:
    assert looks_like_a_container(head)


def test_other_bytes_are_no_container() -> None:
    assert not looks_like_a_container(bytes(range(200, 256)) * 40)
