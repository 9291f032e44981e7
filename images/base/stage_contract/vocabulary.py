"""The words both sides use. One file, so that a word means one thing everywhere."""

from enum import IntEnum, StrEnum


class Stage(StrEnum):
    """The job of one container."""

    PROBE = "media.probe"
    EXTRACT = "media.extract"
    TRANSCRIBE = "audio.transcribe"
    ANALYZE = "vision.analyze"
    ENRICH = "nlp.enrich"


class Variant(StrEnum):
    """Which build of an image runs."""

    CPU = "cpu"
    CUDA = "cuda"


class Phase(StrEnum):
    """A timed part of a task. The first group is timed by Airflow's side, the second in the container."""

    QUEUE = "queue"
    BRANCH = "branch"
    LEASE = "lease"
    ASIDE = "aside"
    TASK_START = "task_start"
    REGISTER = "register"
    PREPARE = "prepare"
    CONTAINER_START = "container_start"
    COLLECT = "collect"
    PUBLISH = "publish"

    IMPORT = "import"
    MODEL_LOAD = "model_load"
    PROBE = "probe"
    EXTRACT = "extract"
    LOUDNESS = "loudness"
    DECODE = "decode"
    VAD = "vad"
    LANGUAGE_DETECTION = "language_detection"
    TRANSCRIPTION = "transcription"
    QUALITY = "quality"
    SHOT_DETECTION = "shot_detection"
    CLIP = "clip"
    DETECTION = "detection"
    OCR = "ocr"
    CONTACT_SHEET = "contact_sheet"
    ENTITIES = "entities"
    KEY_PHRASES = "key_phrases"
    SENTIMENT = "sentiment"
    WRITE = "write"


class PhaseOutcome(StrEnum):
    """How a phase ended. `interrupted`: the process was told to stop."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class ItemOutcome(StrEnum):
    """What became of one item of a request.

    `reused`: a complete result with the same fingerprint was there. `left`: not begun, because the
    stage stepped aside. `failed`: an error of ours or of the machine, not of the media.
    """

    DONE = "done"
    REUSED = "reused"
    REJECTED = "rejected"
    FAILED = "failed"
    LEFT = "left"


class ResultStatus(StrEnum):
    """The status that a complete result carries."""

    DONE = "done"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why an item was rejected."""

    EMPTY = "empty"
    NOT_MEDIA = "not_media"
    CORRUPT = "corrupt"
    PLAYLIST = "playlist"
    UNSUPPORTED = "unsupported"
    ENCRYPTED = "encrypted"
    TOO_LARGE = "too_large"
    ZERO_DURATION = "zero_duration"
    NO_AUDIO = "no_audio"
    NO_VIDEO = "no_video"
    OUTSIDE_ARCHIVE = "outside_archive"
    NOT_A_FILE = "not_a_file"
    VANISHED = "vanished"
    CHANGED = "changed"
    UNREADABLE = "unreadable"


PASSING_REASONS = frozenset(
    {Reason.OUTSIDE_ARCHIVE, Reason.NOT_A_FILE, Reason.VANISHED, Reason.CHANGED, Reason.UNREADABLE}
)
"""Reasons about the file, not about its content: they may have passed by the next run, so no result keeps them."""


class ExitCode(IntEnum):
    """How a stage process ends. Codes above 125 belong to Docker and to signals."""

    DONE = 0
    STEPPED_ASIDE = 10
    ALL_REJECTED = 20
    TRANSIENT = 30
    DEVICE_FAILED = 40
    BUG = 70


class DeviceFault(StrEnum):
    """Why a device was given up (exit 40).

    `out_of_memory`: too small for the work, not sick. `unsuitable`: the image's libraries do not serve it.
    `broken`: it failed, or computed wrong numbers.
    """

    OUT_OF_MEMORY = "out_of_memory"
    UNSUITABLE = "unsuitable"
    BROKEN = "broken"
