"""Assets with results of all stages, as published."""

from pathlib import Path

from sqlalchemy import Engine

from operators.publish import publish_asset
from stage_contract.outputs import ENRICHMENT_FILE, Enrichment, Entity, KeyPhrase, Sentiment
from stage_contract.vocabulary import Stage
from stage_contract.workspace import ItemWorkspace
from tests.operators.sample_results import Fill, add_asset, make_result, showing, speaking


def naming(*entities: Entity) -> Fill:
    """An enrichment with these names."""

    def fill(workspace: ItemWorkspace) -> None:
        enrichment = Enrichment(
            language="en",
            entities=entities,
            entity_engine="spacy",
            key_phrases=(KeyPhrase(text="key words", score=1.0, count=1),),
            sentiments=(Sentiment(segment_index=None, label="positive", score=0.4),),
            sentiment_engine="vader",
        )
        workspace.write_json(ENRICHMENT_FILE, enrichment)

    return fill


def add_film(
    database: Engine,
    results: Path,
    archive: Path,
    name: str,
    *sentences: str,
    label: str = "tie",
    screen: str = "BREAKING",
    frames: int = 4,
    entities: tuple[Entity, ...] = (),
    more: dict[Stage, Fill] | None = None,
) -> str:
    """An asset in which these sentences are said, four seconds each; returns its id."""
    (archive / name).parent.mkdir(parents=True, exist_ok=True)
    asset_id = add_asset(database, archive, f"a film called {name}".encode(), name)
    fills: dict[Stage, Fill | None] = {
        Stage.PROBE: None,
        Stage.EXTRACT: None,
        Stage.TRANSCRIBE: speaking(*sentences),
        Stage.ANALYZE: showing(frames, label=label, text=screen),
        Stage.ENRICH: naming(*entities),
        **(more or {}),
    }
    made: dict[Stage, str] = {}
    for stage, fill in fills.items():
        inputs = {Stage.TRANSCRIBE: made[Stage.TRANSCRIBE]} if stage is Stage.ENRICH else {}
        made[stage] = make_result(results, asset_id, stage, fill, inputs=inputs)
    publish_asset(database, results, asset_id, made)
    return asset_id
