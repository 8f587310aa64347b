"""What an exporter hands on: the graph, and what it knows of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import onnx

from modelexport.frontend.export.weights import Weights, put_back, write_data
from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model

EMBEDDED_LIMIT = 1536 * 2**20  # bytes of weights; torch's own threshold for external data
ExporterName = Literal["torchscript", "dynamo"]


@dataclass(slots=True)
class Exported:
    """A fresh export.

    Attributes:
        exporter: which of torch's exporters made it.
        proto: the graph; the initializers of ``weights`` refer to external data that is yet to be written.
        paths: module path by value name where the node's metadata does not tell: all of TorchScript's, few of dynamo's.
        weights: the larger weights, by initializer.
        warnings: what a user should know about it.
        called: modules that ran, some of them where no call can be watched.
        watched: whether ``paths`` are confirmed by module calls.
        functions: module paths by function and value: those that a node of a local function runs as.
        scripts: modules whose parts no record tells apart, such as scripted ones that were run as one operator each.
    """

    exporter: ExporterName
    proto: onnx.ModelProto
    paths: Mapping[str, str] = field(default_factory=dict)
    weights: Weights = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    called: tuple[str, ...] = ()
    watched: bool = True
    functions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()

    @property
    def opset_version(self) -> int:
        """The opset of the default domain that the graph is really in."""
        return next((entry.version for entry in self.proto.opset_import if entry.domain in ("", "ai.onnx")), 0)

    def to_model(self, path: Path, *, external_data: bool = False, read_weights: bool = True) -> Model:
        """The IR of the graph, as it would be at ``path``.

        Weights that don't fit into the model file, or that are asked for as ``external_data``, are written to
        ``<path>.data`` now. The others are put into the graph, or, unless they are to be read, stay in ``weights``.
        """
        if external_data or sum(weight.nbytes for weight in self.weights.values()) > EMBEDDED_LIMIT:
            dense = self.exporter == "dynamo"  # as that exporter writes them; TorchScript has no data file of its own
            write_data(
                self.proto, self.weights, path.with_name(f"{path.name}.data"), **({"alignment": 1} if dense else {})
            )
        elif read_weights:
            put_back(self.proto, self.weights)
        return from_proto(self.proto, path, path.name)
