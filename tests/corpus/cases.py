"""`CORPUS`: every file and its fate, for the stages' tests and for the run through the whole system."""

from dataclasses import dataclass

from stage_contract.vocabulary import Reason, ResultStatus


@dataclass(frozen=True)
class Fate:
    """How a result ends. `reason` is there exactly when the status is `rejected`."""

    status: ResultStatus
    reason: Reason | None = None


@dataclass(frozen=True)
class CorpusCase:
    """One path of the corpus, relative to its folder, and how each step ends.

    `registration` is why the catalog refuses the path; such a path reaches no stage. `probe` and
    `extract` are null when the item never gets there.
    """

    path: str
    why: str
    registration: Reason | None = None
    probe: Fate | None = None
    extract: Fate | None = None


DONE = Fate(ResultStatus.DONE)


def _good(path: str, why: str) -> CorpusCase:
    return CorpusCase(path, why, probe=DONE, extract=DONE)


def _without_sound(path: str, why: str, reason: Reason = Reason.NO_AUDIO) -> CorpusCase:
    return CorpusCase(path, why, probe=DONE, extract=Fate(ResultStatus.REJECTED, reason))


def _rejected(path: str, reason: Reason, why: str) -> CorpusCase:
    return CorpusCase(path, why, probe=Fate(ResultStatus.REJECTED, reason))


def _refused(path: str, reason: Reason, why: str) -> CorpusCase:
    return CorpusCase(path, why, registration=reason)


MARKER_PATH = "playlists/marker.txt"
MARKER = "NIGHTREEL-MARKER-5f1c9a"
"""Content of the file that the playlists point to; it must show up nowhere."""

CORPUS: tuple[CorpusCase, ...] = (
    _good("good/speech.mp4", "a spoken sentence over a moving picture"),
    _good("good/speech.flac", "sound only, lossless"),
    _good("good/tone.mp3", "sound only, with tags"),
    _good("good/silence.wav", "sound that is all silence"),
    _good("good/late_sound.mkv", "the sound begins one second late; subtitles and a second language beside it"),
    _good("good/live.mkv", "recorded live, so that the header states no duration"),
    _good("good/variable_rate.mp4", "frames come unevenly"),
    _good("good/rotated.mp4", "stored lying, shown upright"),
    _good("good/ten_bit.mkv", "10 bits a sample"),
    _good("good/two_pictures.mp4", "two picture tracks, the second one larger and the default"),
    _good("good/tape.ts", "a transport stream"),
    _without_sound("good/no_sound.mp4", "picture only"),
    _without_sound("good/one_frame.mp4", "a single frame, 40 ms long"),
    _without_sound("bad/garbled_sound.mkv", "a sound track of which nothing decodes", Reason.CORRUPT),
    _good("bad/half.mkv", "cut off in the middle; the first half plays"),
    _rejected("bad/empty.mp4", Reason.EMPTY, "no bytes at all"),
    _rejected("bad/no_index.mp4", Reason.CORRUPT, "cut off before the index at the end"),
    _rejected("bad/header_only.mp4", Reason.CORRUPT, "the index at the beginning, and nothing after it"),
    _rejected("bad/text.mp4", Reason.NOT_MEDIA, "text under a film's name"),
    _rejected("bad/random.mp4", Reason.NOT_MEDIA, "random bytes under a film's name"),
    _rejected("bad/still.mp4", Reason.UNSUPPORTED, "a PNG picture under a film's name"),
    _rejected("bad/photo.jpg", Reason.UNSUPPORTED, "a JPEG picture"),
    _rejected("bad/zero_duration.mp4", Reason.ZERO_DURATION, "a header that says zero seconds"),
    _rejected("bad/too_long.mp4", Reason.TOO_LARGE, "25 h between two frames"),
    _rejected("bad/encrypted.mp4", Reason.ENCRYPTED, "common encryption, no key"),
    _rejected("bad/scrambled.ts", Reason.ENCRYPTED, "a transport stream recorded without its key"),
    _rejected(MARKER_PATH, Reason.NOT_MEDIA, "what the playlists point to"),
    _rejected("playlists/local.m3u8", Reason.PLAYLIST, "HLS that points to files of the machine"),
    _rejected("playlists/network.mp4", Reason.PLAYLIST, "HLS under a film's name that points to a network address"),
    _rejected("playlists/concat.mp4", Reason.PLAYLIST, "ffconcat that points to files of the machine"),
    _rejected("playlists/session.sdp", Reason.PLAYLIST, "a session description that listens on the network"),
    _rejected("playlists/dash.mpd", Reason.PLAYLIST, "DASH that points to a file of the machine"),
    _good("names/with spaces.mp4", "spaces"),
    _good('names/quote\'s "and" back\\slash.mp4', "quotes and a backslash"),
    _good("names/line\nbreak.mp4", "a line break"),
    _good("names/emoji 🎬 ümläut.mp4", "characters beyond ASCII"),
    _good("names/-y -leading dash.mp4", "looks like an option"),
    _good("-i.mp4", "looks like an option, at the top"),
    _good("names/frames_%03d.mp4", "looks like the pattern of a picture sequence"),
    _good("names/frames_%03d.png", "a film under the name of a picture sequence"),
    _good("names/http:colon|pipe.mp4", "looks like a protocol"),
    _good("names/$(touch owned);`touch owned`.mp4", "looks like shell code"),
    _refused("links/outside.mp4", Reason.OUTSIDE_ARCHIVE, "a link that leads out of the archive"),
    _refused("links/dangling.mp4", Reason.VANISHED, "a link to nothing"),
    _refused("links/folder.mp4", Reason.NOT_A_FILE, "a folder under a film's name"),
    _refused("links/pipe.mp4", Reason.NOT_A_FILE, "a named pipe, which would block its reader"),
)
