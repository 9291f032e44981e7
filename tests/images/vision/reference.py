"""The networks as torch computes them, in float32: what the vision image is compared with."""

from functools import cache

from console.engine import docker_environment, image_id, image_label
from console.images import BASE, CONTEXT_LABEL, CONTEXTS, Foundation, build_command, build_images, find_image
from console.terminal import LOGS, run

TAG = "nightreel/vision-reference:cpu"
STAGE = "reference"
"""The stage of the vision image's Dockerfile that has torch and its weights."""


@cache
def reference_image() -> str:
    """Build the image from the vision image's own context, where it is not there already; returns its tag."""
    image = find_image("vision", "cpu")
    build_images([image.name])
    digest = image_label(image.tag, CONTEXT_LABEL)
    if image_id(TAG) is None or image_label(TAG, CONTEXT_LABEL) != digest:
        base = Foundation("BASE_IMAGE", find_image(BASE, "cpu").tag, "")
        command = build_command(image, CONTEXTS / "vision-cpu", digest, base)
        at = command.index(image.tag)
        command[at : at + 1] = [TAG, "--target", STAGE]
        run(command, log=LOGS / "image-vision-reference.log", title=f"build {TAG}", environment=docker_environment())
    return TAG
