"""What a run of process_media is asked for."""

import pytest

from operators.backfill.airflow_runs import shard_conf
from operators.backfill.scope import BackfillScope
from operators.backfill.shards import Shard
from operators.routing import DevicePolicy
from process_media.params import process_media_params
from stage_contract.vocabulary import Stage
from tests.operators.backfill.night_setup import NOW


@pytest.mark.parametrize("language", [None, "de"])
def test_a_shard_is_processed_as_the_backfill_was_asked_for(language):
    scope = BackfillScope(stages=(Stage.PROBE, Stage.TRANSCRIBE), device=DevicePolicy.CPU, language=language)
    shard = Shard(1, 1, "process_media", "shard__1_1", NOW, None, 60.0, 90.0, 600.0, scope)
    conf = shard_conf(shard, ["a" * 64])
    assert conf == {
        "asset_ids": ["a" * 64],
        "stages": ["audio.transcribe"],
        "device": "cpu",
        "language": language,
    }
    form = process_media_params()
    assert {name: form[name].resolve(value) for name, value in conf.items()} == conf
