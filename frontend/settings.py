"""How an export is set up: where tags come from, which exporters there are, what is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from modelexport.frontend.inputs.options import ExporterChoice
    from modelexport.frontend.monitor.protocol import Monitor

Evidence = Literal["scope", "trace", "parameter"]
"""What tags come from: the exporter's scopes, the eager trace alone, or the names and values of weights alone."""

STRATEGY = "htp"
EXPORTERS = ("auto", "torchscript", "dynamo")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a HierarchyExporter was constructed; see there.

    Attributes:
        strategy: the name the result carries.
        evidence: what tags come from.
    """

    strategy: str
    evidence: Evidence
    monitoring: bool = False
    verbose: bool = False
    exporter: ExporterChoice = "auto"
    torch_nn: bool = True
    embed: bool = True
    sidecar: bool = True
    report: bool = False
    pipeline: str = "htp"
    monitor: Monitor | None = None
