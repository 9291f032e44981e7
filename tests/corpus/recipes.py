"""How ffmpeg makes the corpus's sound files. Every file has its own content, since content is identity."""

from dataclasses import dataclass

PICTURE = ("-f", "lavfi", "-i", "testsrc2=duration=3:rate=25:size=320x240")
SMALL_PICTURE = ("-f", "lavfi", "-i", "testsrc=duration=3:rate=25:size=160x120")
SPARSE_PICTURE = ("-f", "lavfi", "-i", "testsrc=duration=3:rate=1:size=64x64")
SILENCE = ("-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo")
SPOKEN = "The archive keeps the reels of the night. Tomorrow we look at what they hold."
SPEECH = ("-f", "lavfi", "-i", f"flite=voice=slt:text='{SPOKEN}'")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
X265_TEN_BIT = ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le")
KEY = "00112233445566778899aabbccddeeff"  # of the encrypted sample only
ENCRYPTION = ("-encryption_scheme", "cenc-aes-ctr", "-encryption_key", KEY, "-encryption_kid", KEY)

TWO_LANGUAGES = (
    *("-metadata:s:a:0", "language=eng", "-disposition:a:0", "0"),
    *("-metadata:s:a:1", "language=fra", "-disposition:a:1", "default"),
)


@dataclass(frozen=True)
class Recipe:
    """One ffmpeg command: what it reads, how it writes, and the output's plain name."""

    output: str
    inputs: tuple[str, ...]
    options: tuple[str, ...] = ()


def _tone(frequency_hz: int, duration_s: float = 3) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"sine=frequency={frequency_hz}:duration={duration_s}")


def _map(*streams: str) -> tuple[str, ...]:
    return tuple(word for stream in streams for word in ("-map", stream))


NAMED_CLIPS = tuple(f"clip_{number:02d}.mp4" for number in range(10))

RECIPES: tuple[Recipe, ...] = (
    Recipe("speech.mp4", (*PICTURE, *SPEECH), (*X264, "-c:a", "aac")),
    Recipe("speech.flac", SPEECH, ("-ar", "22050")),
    Recipe("tone.mp3", _tone(440), ("-b:a", "64k", "-metadata", "title=A tone", "-metadata", "artist=Nobody")),
    Recipe("silence.wav", SILENCE, ("-t", "2")),
    Recipe(
        "late_sound.mkv",
        (*PICTURE, "-itsoffset", "1", *_tone(300, 2), "-i", "words.srt"),
        (*_map("0", "1", "1", "2"), *X264, "-c:a", "flac", "-c:s", "srt", *TWO_LANGUAGES),
    ),
    Recipe("live.mkv", (*PICTURE, *_tone(310)), (*X264, "-c:a", "flac", "-live", "1", "-f", "matroska")),
    Recipe(
        "variable_rate.mp4",
        (*PICTURE, *_tone(320)),
        (*X264, "-vf", "select='lt(t,1)+not(mod(n,5))'", "-vsync", "vfr"),
    ),
    Recipe("lying.mp4", (*PICTURE, *_tone(330)), X264),
    Recipe("rotated.mp4", ("-i", "lying.mp4"), ("-c", "copy", "-metadata:s:v:0", "rotate=90")),
    Recipe(
        "ten_bit.mkv",
        (*PICTURE, *_tone(340)),
        (*X265_TEN_BIT, "-x265-params", "log-level=none:pools=none:frame-threads=1", "-c:a", "libopus"),
    ),
    Recipe(
        "two_pictures.mp4",
        (*SMALL_PICTURE, *PICTURE, *_tone(350)),
        (*_map("0", "1", "2"), *X264, "-disposition:v:0", "0", "-disposition:v:1", "default"),
    ),
    Recipe("tape.ts", (*PICTURE, *_tone(360)), (*X264, "-c:a", "mp2")),
    Recipe("no_sound.mp4", PICTURE, X264),
    Recipe("one_frame.mp4", PICTURE, (*X264, "-frames:v", "1")),
    Recipe("garbled_sound.mkv", (*PICTURE, *_tone(370)), (*X264, "-c:a", "flac")),
    Recipe("half.mkv", (*PICTURE, *_tone(380)), (*X264, "-c:a", "pcm_s16le", "-g", "25")),
    Recipe("no_index.mp4", (*PICTURE, *_tone(390)), X264),
    Recipe("header_only.mp4", (*PICTURE, *_tone(400)), (*X264, "-movflags", "+faststart")),
    Recipe("still.png", PICTURE, ("-frames:v", "1")),
    Recipe("photo.jpg", PICTURE, ("-frames:v", "1")),
    Recipe("zero_duration.mp4", PICTURE, (*X264, "-t", "0")),
    Recipe("too_long.mp4", SPARSE_PICTURE, (*X264, "-vf", "setpts=N*45000/TB", "-vsync", "vfr")),
    Recipe("encrypted.mp4", (*PICTURE, *_tone(410)), (*X264, *ENCRYPTION)),
    *(
        Recipe(name, (*PICTURE, *_tone(500 + 10 * number)), (*X264, "-c:a", "aac"))
        for number, name in enumerate(NAMED_CLIPS)
    ),
)
