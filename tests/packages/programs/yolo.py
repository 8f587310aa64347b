"""As ultralytics' users export: a model from its configuration, one call."""

import sys

import torch
from ultralytics import YOLO

torch.manual_seed(0)
model = YOLO(sys.argv[1])
model.export(format="onnx", imgsz=64, device="cpu", **dict(word.split("=") for word in sys.argv[2:]))
