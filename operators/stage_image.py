"""What the engine knows of a stage's image: which version of the stage it holds, and which models."""

import json
from collections.abc import Mapping

import docker
from airflow.sdk.exceptions import AirflowFailException
from docker.errors import ImageNotFound
from pydantic import JsonValue

from operators.routing import image_for
from operators.stage_plan import Build, StageChoice, StageImage
from stage_contract.models import MODELS_LABEL, STAGES_LABEL, parse_models
from stage_contract.resources import DEFAULT_COMPUTE_TYPE, SMALLER_COMPUTE_TYPE
from stage_contract.vocabulary import Stage, Variant


def inspect_stage_image(client: docker.APIClient, stage: Stage, variant: Variant) -> StageImage | None:
    """The image that runs `stage`; none when the engine does not hold it.

    Raises:
        AirflowFailException: the image does not name the stage.
    """
    name = image_for(stage, variant)
    try:
        found = client.inspect_image(name)
    except ImageNotFound:
        return None
    labels = found["Config"]["Labels"] or {}
    versions = json.loads(labels.get(STAGES_LABEL, "{}"))
    if stage not in versions:
        raise AirflowFailException(
            f"an image must name its stages in label {STAGES_LABEL}: {name} does not name {stage}; "
            "build it again with `make images`"
        )
    models = parse_models(labels.get(MODELS_LABEL, "[]"))
    return StageImage(name, found["Id"], versions[stage], tuple(models.values()))


def find_build(
    client: docker.APIClient, stage: Stage, variant: Variant, parameters: Mapping[str, JsonValue]
) -> Build | None:
    """How this variant runs the stage, and its image; none when the engine does not hold that.

    Raises:
        AirflowFailException: the image does not name the stage.
    """
    image = inspect_stage_image(client, stage, variant)
    if image is None:
        return None
    kind = (stage, variant)
    return StageChoice(stage, DEFAULT_COMPUTE_TYPE[kind], parameters, SMALLER_COMPUTE_TYPE.get(kind)), image
