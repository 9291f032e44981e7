"""Inside the reference image: makes pictures and writes what the libraries themselves find in them, in float32.

`python reference_findings.py DIR` writes `pictures.npz` (photographs looked at from ever nearer; photographs with text)
and `reference.json`: ultralytics' boxes, open_clip's vectors, rapidocr's lines through ONNX Runtime.
"""

import json
import random
import sys
from pathlib import Path

import cv2
import numpy as np
import open_clip
import torch
import ultralytics
from PIL import Image, ImageDraw, ImageFont
from rapidocr import RapidOCR
from ultralytics.data.augment import LetterBox
from ultralytics.utils import nms, ops

from stage_contract.models import MODELS_DIR
from vision_stage.torch_networks import create_clip, load_yolo_maps

ASSETS = Path(ultralytics.__file__).parent / "assets"
WIDTH_PX, HEIGHT_PX = 960, 540
VIEWS = 40
TEXT_PICTURES = 6
LEAST_CONFIDENCE = 0.35
OVERLAP_IOU = 0.7
SENTENCES = (
    "EVENING NEWS live from Berlin at 19:30 Dr. Müller the parliament votes yes 24,7 % growth goal in minute 87 "
    "Breaking ACME Corp. shares fall https://example.org/archive 2026-11-21 a quick brown fox"
)
WORDS = SENTENCES.split()


def views(name: str) -> list[np.ndarray]:
    """A photograph, from all of it to its middle third, the window wandering."""
    photograph = cv2.imread(str(ASSETS / name))[..., ::-1]
    photograph = np.ascontiguousarray(cv2.resize(photograph, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
    found = []
    for number in range(VIEWS):
        share = 1 - 0.66 * number / VIEWS
        width = min(photograph.shape[1], photograph.shape[0] * WIDTH_PX // HEIGHT_PX)
        width, height = int(width * share), int(width * share * HEIGHT_PX / WIDTH_PX)
        left = int((photograph.shape[1] - width) * (0.5 + 0.4 * np.sin(number)))
        top = int((photograph.shape[0] - height) * (0.5 + 0.4 * np.cos(1.7 * number)))
        window = photograph[top : top + height, left : left + width]
        found.append(cv2.resize(window, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA))
    return found


def with_text(picture: np.ndarray, seed: int) -> np.ndarray:
    """Lines in sizes from 12 to 48 px, on bars of their own or on the photograph."""
    random.seed(seed)
    image = Image.fromarray(picture)
    draw, top_px = ImageDraw.Draw(image), 12
    while top_px < HEIGHT_PX - 60:
        font = ImageFont.load_default(random.choice((12, 16, 20, 28, 48)))
        text, left_px = " ".join(random.sample(WORDS, random.randint(1, 4))), random.randint(4, 300)
        box = draw.textbbox((left_px, top_px), text, font=font)
        if random.random() < 0.6:
            draw.rectangle((box[0] - 5, box[1] - 4, box[2] + 5, box[3] + 4), fill=(20, 20, random.randint(20, 120)))
        draw.text((left_px, top_px), text, fill="white", font=font)
        top_px = int(box[3]) + random.randint(8, 50)
    return np.asarray(image)


def boxes(pictures: list[np.ndarray]) -> list[list[dict[str, object]]]:
    """Labels and corners, px, as ultralytics' own steps before and after the network give them."""
    network = load_yolo_maps(MODELS_DIR / "detector").network
    network.model[-1].training = False
    labels = json.loads((MODELS_DIR / "detector" / "labels.json").read_text())
    found = []
    for picture in pictures:
        fitted = LetterBox((640, 640), auto=True, stride=32)(image=picture)
        planes = torch.from_numpy(np.ascontiguousarray(fitted.transpose(2, 0, 1)))[None].float() / 255
        with torch.inference_mode():
            told = network(planes)
        (best,) = nms.non_max_suppression(told, LEAST_CONFIDENCE, OVERLAP_IOU)
        corners = ops.scale_boxes(planes.shape[2:], best[:, :4], picture.shape)
        found.append(
            [
                {"label": labels[int(label)], "corners": corner}
                for label, corner in zip(best[:, 5].tolist(), corners.tolist(), strict=True)
            ]
        )
    return found


def vectors(pictures: list[np.ndarray]) -> list[list[float]]:
    """CLIP's vectors, as open_clip's own steps before the network give them."""
    weights = MODELS_DIR / "clip" / "open_clip_model.safetensors"
    clip = create_clip(weights if weights.exists() else None)
    prepare = open_clip.image_transform(224, is_train=False, mean=clip.visual.image_mean, std=clip.visual.image_std)
    with torch.inference_mode():
        batch = torch.stack([prepare(Image.fromarray(picture)) for picture in pictures])
        found: list[list[float]] = clip.encode_image(batch, normalize=True).tolist()
    return found


def lines(pictures: list[np.ndarray]) -> list[list[dict[str, object]]]:
    """Text and corners, px, as rapidocr gives them by default."""
    engine = RapidOCR(params={"Global.log_level": "error"})
    found = []
    for picture in pictures:
        told = engine(np.ascontiguousarray(picture[..., ::-1]))
        corners = [] if told.boxes is None else told.boxes
        found.append(
            [
                {"label": text, "corners": [*box.min(axis=0).tolist(), *box.max(axis=0).tolist()]}
                for text, box in zip(told.txts or (), corners, strict=True)
                if text.strip()
            ]
        )
    return found


def main(folder: Path) -> None:
    seen = [*views("bus.jpg"), *views("zidane.jpg")]
    pages = [with_text(seen[number * len(seen) // TEXT_PICTURES], number) for number in range(TEXT_PICTURES)]
    np.savez(folder / "pictures.npz", seen=np.stack(seen), pages=np.stack(pages))
    found = {"boxes": boxes(seen), "vectors": vectors(seen), "lines": lines(pages)}
    (folder / "reference.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
