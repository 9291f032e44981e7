"""The baseline for pictures: every frame decoded at full size, then each network on one picture at a time, in float32.

    python vision_plain.py sampling.json [--text]

`sampling.json` gives the times to look at, in seconds: {"/films/a.mp4": [0.0, 1.0], ...}. Prints JSON.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import open_clip
import torch
from PIL import Image
from rapidocr import RapidOCR
from safetensors import safe_open
from ultralytics import YOLO

CONFIDENCE = 0.35
COLORS = 5

parser = argparse.ArgumentParser()
parser.add_argument("sampling", type=Path)
parser.add_argument("--text", action="store_true")
arguments = parser.parse_args()

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
cv2.setNumThreads(int(os.environ["OMP_NUM_THREADS"]))
took_s: dict[str, float] = defaultdict(float)


def load_clip():
    """CLIP as open_clip gives it; where no weights are to be had, from the seed that the stage takes as well."""
    weights = Path("/opt/models/clip/open_clip_model.safetensors")
    torch.manual_seed(0)
    model, _, prepare = open_clip.create_model_and_transforms(
        "ViT-B-32", pretrained=str(weights) if weights.exists() else None
    )
    return model.eval(), prepare


def load_yolo():
    """YOLO as ultralytics gives it, with the stage's weights."""
    with safe_open("/opt/models/detector/yolov8.safetensors", framework="pt") as file:
        about = file.metadata()
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    yolo = YOLO(about["architecture"], task="detect")
    yolo.model.fuse(verbose=False)
    yolo.model.load_state_dict(weights)
    yolo.model.names = dict(enumerate(json.loads(about["labels"])))
    return yolo


def sampled_frames(film, times_s):
    """The frame at each of the times; all others are decoded too, and thrown away."""
    capture = cv2.VideoCapture(film)
    half_a_frame_s = 0.5 / capture.get(cv2.CAP_PROP_FPS)
    waiting = list(times_s)
    while True:
        started_s = time.monotonic()
        grabbed, picture = capture.grab(), None
        time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if grabbed and waiting and time_s >= waiting[0] - half_a_frame_s:
            picture = capture.retrieve()[1]
        took_s["decode"] += time.monotonic() - started_s
        if not grabbed:
            return
        if picture is not None:
            yield waiting.pop(0), picture


def measure_quality(picture):
    """Brightness, contrast, sharpness and five colours, as OpenCV's tutorials measure them."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    pixels = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    _, members, centers = cv2.kmeans(pixels, COLORS, None, criteria, 3, cv2.KMEANS_PP_CENTERS)
    shares = np.bincount(members.ravel(), minlength=COLORS) / len(pixels)
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        "colors": [
            {"hex": f"#{round(red):02x}{round(green):02x}{round(blue):02x}", "share": float(share)}
            for (blue, green, red), share in zip(centers, shares, strict=True)
        ],
    }


def embed(model, prepare, picture):
    """CLIP's vector, of length 1."""
    pixels = prepare(Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))).unsqueeze(0)
    with torch.inference_mode():
        vector = model.encode_image(pixels)
    return (vector / vector.norm(dim=-1, keepdim=True))[0].tolist()


def box(left, top, right, bottom):
    return {"x_px": left, "y_px": top, "width_px": right - left, "height_px": bottom - top}


def detect(yolo, picture):
    """YOLO's objects."""
    (found,) = yolo.predict(picture, conf=CONFIDENCE, verbose=False)
    return [
        {"label": found.names[int(label)], "confidence": confidence, "box": box(*corners)}
        for corners, confidence, label in zip(
            found.boxes.xyxy.tolist(), found.boxes.conf.tolist(), found.boxes.cls.tolist(), strict=True
        )
    ]


def read_text(reader, picture):
    """The lines of text that RapidOCR reads, with the settings it comes with."""
    found = reader(picture)
    if found.boxes is None:
        return []
    corners = [(*lines.min(axis=0).tolist(), *lines.max(axis=0).tolist()) for lines in found.boxes]
    return [
        {"text": text, "confidence": score, "box": box(*corner)}
        for corner, text, score in zip(corners, found.txts, found.scores, strict=True)
    ]


def timed(name, function, *given):
    """What `function` returns; its time is added up under `name`."""
    started_s = time.monotonic()
    result = function(*given)
    took_s[name] += time.monotonic() - started_s
    return result


started_s = time.monotonic()
clip, prepare = load_clip()
yolo = load_yolo()
reader = RapidOCR(params={"Global.log_level": "error"}) if arguments.text else None
load_s = time.monotonic() - started_s

films = []
for film, times_s in json.loads(arguments.sampling.read_text()).items():
    took_s.clear()
    started_s = time.monotonic()
    frames = [
        {
            "index": index,
            "time_s": time_s,
            "shot_index": 0,
            **timed("quality", measure_quality, picture),
            "embedding": timed("clip", embed, clip, prepare, picture),
            "detections": timed("detection", detect, yolo, picture),
            "text": timed("ocr", read_text, reader, picture) if reader else [],
        }
        for index, (time_s, picture) in enumerate(sampled_frames(film, times_s))
    ]
    seconds = time.monotonic() - started_s
    films.append({"film": film, "seconds": seconds, "phases": dict(took_s), "frames": frames})

print(json.dumps({"load_s": load_s, "films": films}))
