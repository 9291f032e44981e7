"""nlp.enrich: reads a transcript, writes `enrichment.json`."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from nlp_stage.engines import (
    LexiconEngine,
    NetworkEngine,
    engine_name,
    import_spacy,
    load_recognizer,
    stop_words,
)
from nlp_stage.entities import Pipeline, find_entities
from nlp_stage.key_phrases import SPOKEN_FILLERS, find_key_phrases
from nlp_stage.sentiment import SentimentEngine, find_sentiments
from stage_contract.errors import StageError
from stage_contract.models import MODELS_DIR, ModelRef
from stage_contract.outputs import (
    ENRICHMENT_FILE,
    TRANSCRIPT_FILE,
    Enrichment,
    Entity,
    KeyPhrase,
    Segment,
    Sentiment,
    Transcript,
)
from stage_contract.parameters import EnrichParameters
from stage_contract.phases import PhaseRecorder
from stage_contract.request import StageRequest
from stage_contract.resources import cpu_threads
from stage_contract.vocabulary import Phase, Stage
from stage_contract.workspace import ItemWorkspace

ENTITY_ROLE = "ner"
SENTIMENT_ROLE = "sentiment"
LANGUAGE = "en"
"""What the models and the lexicon are made for."""


class EnrichWorker:
    """Entities, key phrases and sentiment of one transcript after another."""

    stage: Stage = Stage.ENRICH
    version: str = "1"
    model_roles: tuple[str, ...] = (ENTITY_ROLE, SENTIMENT_ROLE)

    _parameters: EnrichParameters
    _recognizer: Pipeline
    _recognizer_name: str
    _sentiment: SentimentEngine

    def setup(self, request: StageRequest, models: Mapping[str, ModelRef], phases: PhaseRecorder) -> None:
        """Import and load what the image's models ask for; torch only when there are weights for sentiment.

        Raises:
            StageError: the image has no model for entities, or one that does not fit.
        """
        self._parameters = EnrichParameters.model_validate(request.parameters)
        if ENTITY_ROLE not in models:
            raise StageError(
                f"the image must hold a model for {ENTITY_ROLE!r}: it has {sorted(models)}; build it again"
            )
        network = models.get(SENTIMENT_ROLE)
        with phases.measure(Phase.IMPORT):
            import_spacy(with_torch=network is not None)
            import_module("transformers" if network else "vaderSentiment.vaderSentiment")
        with phases.measure(Phase.MODEL_LOAD):
            self._recognizer = load_recognizer(MODELS_DIR / ENTITY_ROLE)
            self._sentiment = (
                NetworkEngine(engine_name(network), MODELS_DIR / SENTIMENT_ROLE, cpu_threads())
                if network
                else LexiconEngine()
            )
        self._recognizer_name = engine_name(models[ENTITY_ROLE])

    def release(self) -> None:
        """Nothing to give back: no device."""

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Enrich one asset.

        Raises:
            StageError: the transcript that the request names is not there.
        """
        transcript = read_transcript(workspace.input_file(Stage.TRANSCRIBE, TRANSCRIPT_FILE))
        segments, asset_id = transcript.segments, workspace.item.asset_id
        size = {"segments": len(segments), "characters": sum(len(segment.text) for segment in segments)}
        unsuited = why_no_engine(transcript)
        entities: tuple[Entity, ...] = ()
        sentiments: tuple[Sentiment, ...] = ()
        with phases.measure(Phase.ENTITIES, asset_id) as counters:
            if not unsuited:
                entities = find_entities(segments, self._recognizer)
            counters.update(size, entities=len(entities))
        with phases.measure(Phase.KEY_PHRASES, asset_id) as counters:
            key_phrases = self._key_phrases(transcript.language, segments)
            counters.update(size, key_phrases=len(key_phrases))
        with phases.measure(Phase.SENTIMENT, asset_id) as counters:
            if not unsuited:
                sentiments = find_sentiments(segments, self._sentiment)
            counters.update(size, sentiments=len(sentiments))
        enrichment = Enrichment(
            language=transcript.language,
            entities=entities,
            entity_engine=unsuited or self._recognizer_name,
            key_phrases=key_phrases,
            sentiments=sentiments,
            sentiment_engine=unsuited or self._sentiment.name,
        )
        with phases.measure(Phase.WRITE, asset_id) as counters:
            text = enrichment.model_dump_json(indent=1)
            workspace.write_text(ENRICHMENT_FILE, text)
            counters["bytes"] = len(text.encode())

    def _key_phrases(self, language: str | None, segments: tuple[Segment, ...]) -> tuple[KeyPhrase, ...]:
        ignored = stop_words(language)
        if ignored is None:
            return ()
        if language == LANGUAGE:
            ignored |= SPOKEN_FILLERS
        return find_key_phrases(segments, ignored, self._parameters.max_key_phrases)


def why_no_engine(transcript: Transcript) -> str | None:
    """What to write in place of an engine's name where the engines, made for English, do not suit."""
    if not any(segment.text.strip() for segment in transcript.segments):
        return "none (no speech)"
    if transcript.language != LANGUAGE:
        return f"none (language {transcript.language or 'unknown'})"
    return None


def read_transcript(path: Path) -> Transcript:
    """The transcript in `path`.

    Raises:
        StageError: there is none.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise StageError(f"the transcript must be there: {path} is gone; transcribe the asset again") from error
    return Transcript.model_validate_json(text)
