"""Lets torchvision's Python code load where its compiled operators don't, which is so beside a CPU build of torch.

The operators are defined without any that could run: no export of these tests needs one. It is also a sitecustomize
that was there before ours.
"""

from __future__ import annotations

import sys
from typing import Any

_POOL = "float spatial_scale, int pooled_height, int pooled_width"
_BOX = "Tensor input, Tensor rois"
_BACK = "int batch_size, int channels, int height, int width"
SCHEMAS = (
    f"roi_align({_BOX}, {_POOL}, int sampling_ratio, bool aligned) -> Tensor",
    f"qroi_align({_BOX}, {_POOL}, int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_align_backward(Tensor grad, Tensor rois, {_POOL}, {_BACK}, int sampling_ratio, bool aligned) -> Tensor",
    f"ps_roi_align({_BOX}, {_POOL}, int sampling_ratio) -> (Tensor, Tensor)",
    f"_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor mapping, {_POOL}, int sampling_ratio, {_BACK}) -> Tensor",
    f"roi_pool({_BOX}, {_POOL}) -> (Tensor, Tensor)",
    f"_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, {_POOL}, {_BACK}) -> Tensor",
    f"ps_roi_pool({_BOX}, {_POOL}) -> (Tensor, Tensor)",
    f"_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor mapping, {_POOL}, {_BACK}) -> Tensor",
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, int[] geometry) -> Tensor",
    "_deform_conv2d_backward(Tensor grad, Tensor input, int[] geometry) -> Tensor",
)
_kept: list[Any] = []


class _BeforeTorchvision:
    """A finder that finds nothing; it is asked for torchvision right before it is imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            import torch

            library = torch.library.Library("torchvision", "DEF")
            for schema in SCHEMAS:
                library.define(schema)
            _kept.append(library)


sys.meta_path.insert(0, _BeforeTorchvision())
