"""vision.analyze: what can be seen in a video, frame by frame and shot by shot.

`worker`, `streams`, `sampling`, `shots`, `tags` and `cuda_architectures` need the standard library and
the contract only. The other modules import torch, OpenCV, PyAV and so on at their top; the worker
imports them in `setup()`, where the phase `import` times it.
"""
