"""What an exporter hands on: the graph, and what it knows of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model

ExporterName = Literal["torchscript", "dynamo"]


@dataclass(slots=True)
class Exported:
    """A fresh export.

    Attributes:
        exporter: which of torch's exporters made it.
        model: the graph.
        paths: module path by value name, as the TorchScript scopes have it; dynamo's are in the nodes' metadata.
        warnings: what a user should know about it.
    """

    exporter: ExporterName
    model: Model
    paths: Mapping[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def opset_version(self) -> int:
        """The opset of the default domain that the graph is really in."""
        return next((entry.version for entry in self.model.proto.opset_import if entry.domain in ("", "ai.onnx")), 0)

    def reread(self) -> Model:
        """The IR built anew over the proto, after it was changed outside of the IR."""
        return from_proto(self.model.proto)
