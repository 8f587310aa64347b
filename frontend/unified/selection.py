"""Which strategy fits a model: facts about it and the arguments, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from modelexport.frontend.needed import need_torch

if TYPE_CHECKING:
    import torch


class ExportStrategy(StrEnum):
    """How tags are found."""

    AUTO = "auto"
    HTP = "htp"
    USAGE_BASED = "usage_based"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a choice is made from.

    Attributes:
        type: class of the model.
        module_count: modules in it, itself included.
        scripted: how many of them are TorchScript modules, whose calls Python can't see.
        weight_bytes: size of parameters and buffers.
        free_bytes: memory that is available on this machine.
    """

    type: str
    module_count: int
    scripted: int
    weight_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The strategies to try, first choice first, and why. ``confidence`` is 1.0 where nothing else could work."""

    order: tuple[ExportStrategy, ...]
    reasoning: str
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """The report's ``strategy_selection``."""
        return {"selected": str(self.order[0]), "reasoning": self.reasoning, "confidence": self.confidence}


def facts_about(model: torch.nn.Module) -> ModelFacts:
    """Look at ``model`` without running it."""
    need_torch("exporting a model")
    import psutil
    import torch

    modules = list(model.modules())
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return ModelFacts(
        type=str(getattr(model, "original_name", "") or type(model).__qualname__),  # TorchScript wraps the class
        module_count=len(modules),
        scripted=sum(isinstance(module, torch.jit.ScriptModule) for module in modules),
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
        free_bytes=int(psutil.virtual_memory().available),
    )


def select(wanted: ExportStrategy, facts: ModelFacts, options: Mapping[str, Any]) -> Selection:
    """The order in which to try strategies. ``options`` are the arguments of the export."""
    htp, usage = ExportStrategy.HTP, ExportStrategy.USAGE_BASED
    if wanted is not ExportStrategy.AUTO:
        other = usage if wanted is htp else htp
        return Selection((wanted, other), f"{wanted} was asked for", 1.0)
    size = f"{facts.type} has {facts.module_count} modules and {facts.weight_bytes / 2**20:.1f} MB of weights"
    if facts.scripted:
        why = f"{facts.scripted} of them are TorchScript modules, whose calls can't be watched: tags come from weights"
        return Selection((usage, htp), f"{size}; {why}", 0.9)
    if facts.weight_bytes > facts.free_bytes // 3:
        free = facts.free_bytes / 2**20
        why = f"with {free:.0f} MB of free memory the second forward of htp is left out: tags come from weights"
        return Selection((usage, htp), f"{size}; {why}", 0.7)
    why = "all are Python modules, so the exporter can record the module of every operator"
    if options.get("export_params") is False:
        why += "; without weights in the file nothing else would be exact"
    return Selection((htp, usage), f"{size}; {why}", 0.95)
