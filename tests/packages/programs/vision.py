"""As timm's own script exports: its helper around torch.onnx.export."""

import sys

import timm
import torch
from timm.utils.onnx import onnx_export

torch.manual_seed(0)
name, file, dynamo = sys.argv[1:]
model = timm.create_model(name, pretrained=False, exportable=True)
onnx_export(model, file, input_size=(3, 224, 224) if "vit" in name else (3, 64, 64), use_dynamo=dynamo == "dynamo")
