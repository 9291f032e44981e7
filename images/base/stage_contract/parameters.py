"""What a person may choose for each stage. Defaults are filled in before a fingerprint is taken."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from stage_contract.vocabulary import Stage


class StageParameters(BaseModel):
    """Base of every stage's parameters: immutable, and a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: ClassVar[Stage]


class ProbeParameters(StageParameters):
    """`max_duration_s`: longer media is rejected as too large (default 24 h)."""

    stage = Stage.PROBE
    max_duration_s: float = Field(default=86_400.0, gt=0)


class ExtractParameters(StageParameters):
    """`sample_rate_hz`: 16 kHz is what Whisper was trained on."""

    stage = Stage.EXTRACT
    sample_rate_hz: int = Field(default=16_000, ge=8_000, le=48_000)


class TranscribeParameters(StageParameters):
    """`language` is an ISO 639-1 code, or null to detect it. `beam_size` 5 is Whisper's own default."""

    stage = Stage.TRANSCRIBE
    language: str | None = Field(default=None, pattern=r"^[a-z]{2,3}$")
    beam_size: int = Field(default=5, ge=1, le=10)


class AnalyzeParameters(StageParameters):
    """`interval_s` is the spacing of sampled frames; a clip gets at least one.

    `max_frames` bounds a long asset: the interval is widened to keep to it.
    `detection_confidence` is the least confidence, 0..1, of a detection that is kept.
    """

    stage = Stage.ANALYZE
    interval_s: float = Field(default=1.0, gt=0)
    max_frames: int = Field(default=3_600, ge=1)
    detection_confidence: float = Field(default=0.35, ge=0, le=1)
    ocr: bool = True


class EnrichParameters(StageParameters):
    """`max_key_phrases` is the most key phrases kept for an asset."""

    stage = Stage.ENRICH
    max_key_phrases: int = Field(default=20, ge=0)


PARAMETERS: dict[Stage, type[StageParameters]] = {
    cls.stage: cls
    for cls in (ProbeParameters, ExtractParameters, TranscribeParameters, AnalyzeParameters, EnrichParameters)
}
