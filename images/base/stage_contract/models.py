"""Which models an image holds. Written when the image is built, read on both sides."""

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

MODELS_DIR = Path(os.environ.get("NIGHTREEL_MODELS", "/opt/models"))
"""Where an image holds its models. The variable is for stages that run outside of a container."""

MODELS_LABEL = "nightreel.models"
STAGES_LABEL = "nightreel.stages"


class ModelRef(BaseModel):
    """One model as baked into an image.

    `role` is what a stage asks for (`whisper`, `clip`, `detector`), `name` what was found for it.
    `revision` names the content: a hub commit or a package version. `sha256` is of the model's main
    file as fetched, empty when the model has no weights (`trained` is then false).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    name: str
    revision: str
    sha256: str
    licence: str
    trained: bool = True


def read_models(models_dir: Path = MODELS_DIR) -> dict[str, ModelRef]:
    """The image's models by role, from `models.json` in `models_dir`; none when the file is absent."""
    manifest = models_dir / "models.json"
    if not manifest.exists():
        return {}
    return parse_models(manifest.read_text())


def parse_models(text: str) -> dict[str, ModelRef]:
    """Models by role from the JSON list that the image's label and `models.json` both hold."""
    models = (ModelRef.model_validate(entry) for entry in json.loads(text))
    return {model.role: model for model in models}
