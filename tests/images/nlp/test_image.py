"""The whole stage, in its real image."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.routing import image_for
from stage_contract.models import ModelRef
from stage_contract.outputs import Enrichment, Transcript
from stage_contract.vocabulary import ExitCode, ItemOutcome, Phase, ResultStatus, Stage, Variant
from tests.images.nlp.enrichment import asset_id, enrich, enrichment, peak_rss_mib
from tests.stage_container import StageBench, read_only, run_program, writable

SPEECH = (
    " Barack Obama flew from Chicago to Berlin on Monday.",
    " He met engineers of NASA, who showed him a wonderful telescope.",
    " The old telescope was a terrible failure, they said.",
)

MakeTranscript = Callable[..., Transcript]
IMAGE = image_for(Stage.ENRICH, Variant.CPU)


def found(output: Enrichment) -> set[tuple[str, str]]:
    return {(entity.text, entity.label) for entity in output.entities}


def offsets_are_exact(output: Enrichment, transcript: Transcript) -> bool:
    texts = {segment.index: segment.text for segment in transcript.segments}
    return all(texts[entity.segment_index][entity.start : entity.end] == entity.text for entity in output.entities)


def test_a_speech_gets_its_names_its_subject_and_its_mood(bench: StageBench, transcript_of: MakeTranscript) -> None:
    transcript = transcript_of(*SPEECH)
    done = enrich(bench, transcript)
    assert done.exit_code == ExitCode.DONE, done.log
    output = enrichment(done)
    assert {("Barack Obama", "person"), ("Chicago", "place"), ("Berlin", "place")} <= found(output)
    assert offsets_are_exact(output, transcript)
    assert "telescope" in " ".join(phrase.text for phrase in output.key_phrases)
    moods = {sentiment.segment_index: sentiment.label for sentiment in output.sentiments}
    assert (moods[1], moods[2]) == ("positive", "negative")
    assert None in moods
    assert output.sentiment_engine == "vader-lexicon"


def test_every_phase_is_timed_with_its_counters(bench: StageBench, transcript_of: MakeTranscript) -> None:
    done = enrich(bench, transcript_of(*SPEECH), transcript_of("Nothing of note."))
    shared = [record.phase for record in done.phases if record.asset_id is None]
    assert shared == [Phase.CONTAINER_START, Phase.IMPORT, Phase.MODEL_LOAD]
    own = [record for record in done.phases if record.asset_id == asset_id(0)]
    assert [record.phase for record in own] == [Phase.ENTITIES, Phase.KEY_PHRASES, Phase.SENTIMENT, Phase.WRITE]
    entities = own[0].counters
    assert entities["segments"] == 3
    assert entities["characters"] == sum(map(len, SPEECH))
    assert entities["entities"] == len(enrichment(done).entities)


def test_a_name_cut_by_a_segment_boundary_is_one_mention_in_the_longer_part(
    bench: StageBench, transcript_of: MakeTranscript
) -> None:
    transcript = transcript_of("On Monday President Barack", "Obama met Angela", "Merkel in Berlin.")
    done = enrich(bench, transcript)
    people = [(e.segment_index, e.text) for e in enrichment(done).entities if e.label == "person"]
    assert people == [(0, "Barack"), (1, "Angela")]
    assert offsets_are_exact(enrichment(done), transcript)


def test_offsets_hold_among_emoji_wide_letters_and_odd_spaces(bench: StageBench, transcript_of: MakeTranscript) -> None:
    transcript = transcript_of(
        "\u00a0\t🎬🎬 Then  Angela\nMerkel 👩‍👩‍👧 went to Paris.",
        "   ",
        "\U0001d518 — “Angela Merkel”\u2028spoke in Paris, café by café…",
    )
    done = enrich(bench, transcript)
    assert done.exit_code == ExitCode.DONE, done.log
    assert {entity.segment_index for entity in enrichment(done).entities} == {0, 2}
    assert offsets_are_exact(enrichment(done), transcript)


def test_silence_is_done_with_empty_lists(bench: StageBench, transcript_of: MakeTranscript) -> None:
    done = enrich(bench, transcript_of(language=None))
    assert done.exit_code == ExitCode.DONE, done.log
    assert enrichment(done) == Enrichment(
        language=None,
        entities=(),
        entity_engine="none (no speech)",
        key_phrases=(),
        sentiments=(),
        sentiment_engine="none (no speech)",
    )


def test_another_language_gets_key_phrases_only(bench: StageBench, transcript_of: MakeTranscript) -> None:
    french = "La tour Eiffel domine Paris. La tour Eiffel fut construite pour l'exposition universelle."
    japanese = "エッフェル塔はパリにあります。"
    done = enrich(bench, transcript_of(french, language="fr"), transcript_of(japanese, language="ja"))
    assert done.exit_code == ExitCode.DONE, done.log
    output = enrichment(done)
    assert (output.entities, output.sentiments) == ((), ())
    assert output.entity_engine == output.sentiment_engine == "none (language fr)"
    assert "tour Eiffel" in {phrase.text for phrase in output.key_phrases}
    assert enrichment(done, 1).key_phrases == ()


def test_ten_hours_of_speech_fit_in_small_memory(bench: StageBench, transcript_of: MakeTranscript) -> None:
    texts = [
        f"In minute {n} Senator Maria Lopez{n} praised the harbour of Boston and its ferries." for n in range(7_200)
    ]
    done = enrich(bench, transcript_of(*texts))
    assert done.exit_code == ExitCode.DONE, done.log
    cities = {e.segment_index for e in enrichment(done).entities if (e.text, e.label) == ("Boston", "place")}
    assert len(cities) > 0.95 * len(texts)
    assert peak_rss_mib(done, Phase.ENTITIES) < 600


def test_the_same_transcript_gives_the_same_bytes(bench: StageBench, transcript_of: MakeTranscript) -> None:
    first = enrich(bench, transcript_of(*SPEECH))
    before = (first.directory(asset_id(0)) / "enrichment.json").read_bytes()
    shutil.rmtree(first.directory(asset_id(0)))
    again = enrich(bench, transcript_of(*SPEECH))
    assert (again.directory(asset_id(0)) / "enrichment.json").read_bytes() == before


def test_a_complete_result_is_reused_without_loading_anything(bench: StageBench, transcript_of: MakeTranscript) -> None:
    enrich(bench, transcript_of(*SPEECH))
    again = enrich(bench, transcript_of(*SPEECH))
    assert [item.outcome for item in again.outcome.items] == [ItemOutcome.REUSED]
    assert [record.phase for record in again.phases] == [Phase.CONTAINER_START]


def test_a_missing_transcript_fails_its_own_item_only(bench: StageBench, transcript_of: MakeTranscript) -> None:
    done = enrich(bench, None, transcript_of(*SPEECH))
    assert done.exit_code == ExitCode.BUG
    assert [item.outcome for item in done.outcome.items] == [ItemOutcome.FAILED, ItemOutcome.DONE]
    assert "transcribe the asset again" in done.outcome.items[0].message


def test_the_number_of_key_phrases_is_a_parameter(bench: StageBench, transcript_of: MakeTranscript) -> None:
    done = enrich(bench, transcript_of(*SPEECH), max_key_phrases=1)
    assert len(enrichment(done).key_phrases) == 1


def test_a_run_without_sentiment_weights_leaves_torch_out(bench: StageBench, transcript_of: MakeTranscript) -> None:
    done = enrich(bench, transcript_of(*SPEECH))
    assert peak_rss_mib(done, Phase.IMPORT) < 180, "torch alone takes some 190 MiB"


@pytest.fixture
def models_with_classifier(tmp_path: Path) -> Path:
    """The image's own models, and a tiny untrained classifier in the role `sentiment`."""
    target = tmp_path / "models"
    target.mkdir()
    script = read_only(Path(__file__).with_name("make_tiny_classifier.py"), "/make.py")
    copy_and_add = "cp -r /opt/models/. /made && python /make.py /made/sentiment && chmod -R a+rX /made"
    made = run_program(IMAGE, ["bash", "-c", copy_and_add], writable(target, "/made"), script)
    assert made.exit_code == 0, made.stderr
    manifest = json.loads((target / "models.json").read_text())
    classifier = ModelRef(
        role="sentiment", name="tiny-distilbert", revision="seed 7", sha256="", licence="none", trained=False
    )
    entries = [entry for entry in manifest if entry["role"] != "sentiment"]
    (target / "models.json").unlink()
    (target / "models.json").write_text(json.dumps([*entries, classifier.model_dump()]))
    return target


def test_with_sentiment_weights_the_network_gives_the_scores(
    bench: StageBench, transcript_of: MakeTranscript, models_with_classifier: Path
) -> None:
    texts = [*SPEECH, "word " * 3_000, *(f"Sentence number {n}." for n in range(40)), SPEECH[0]]
    done = enrich(bench, transcript_of(*texts), models=models_with_classifier)
    assert done.exit_code == ExitCode.DONE, done.log
    output = enrichment(done)
    assert output.sentiment_engine == "tiny-distilbert (untrained)"
    scores = {sentiment.segment_index: sentiment.score for sentiment in output.sentiments}
    assert set(scores) == {None, *range(len(texts))}
    assert all(-1 <= score <= 1 for score in scores.values())
    assert len(set(scores.values())) > 5
    assert scores[0] == pytest.approx(scores[len(texts) - 1], abs=1e-3), "padding must not change a score"
    result = done.result(asset_id(0))
    assert result.status is ResultStatus.DONE
    assert {model.role: model.trained for model in result.models} == {"ner": True, "sentiment": False}


def test_an_image_without_an_entity_model_says_so(
    bench: StageBench, transcript_of: MakeTranscript, tmp_path: Path
) -> None:
    empty = tmp_path / "none"
    empty.mkdir()
    done = enrich(bench, transcript_of(*SPEECH), models=empty)
    assert done.exit_code == ExitCode.BUG
    assert "must hold a model for 'ner'" in done.outcome.message


def test_the_installed_packages_satisfy_each_other() -> None:
    assert "No broken requirements found" in run_program(IMAGE, ["pip", "check"]).stdout
