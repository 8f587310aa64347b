"""layer-annotation: label nodes for runtimes that place them by label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.evidence.records.placement import placed
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.rewriting.upkeep import need_attributions
from modelexport.passes.selection.options import check_selector, selected


@dataclass(frozen=True)
class LayerAnnotation(Pass):
    """Write a label into ``layer_ann`` of node metadata, by which onnxruntime and Olive place nodes on devices.

    Give ``label`` and ``select``, or ``depth``. The pass may stand several times. An existing value is replaced;
    strip-tags restores it.

    Attributes:
        label: what to write on the selected nodes.
        select: selector of the nodes to label.
        depth: label every node with the path of its module, cut to this many called modules below the root; the root's
            own nodes get no label.
    """

    name: ClassVar[str] = "layer-annotation"

    label: str | None = None
    select: str | None = None
    depth: int | None = None

    def __post_init__(self) -> None:
        if self.depth is None and (self.label is None or self.select is None):
            raise ValueError("give label and select, or depth")
        if self.depth is not None and (self.label is not None or self.select is not None):
            raise ValueError("depth stands alone, without label and select")
        if self.depth is not None and self.depth < 1:
            raise ValueError(f"depth={self.depth} is below 1")
        if self.label == "":
            raise ValueError("label is empty")
        check_selector("select", self.select)

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """See the class.

        Raises:
            ConfigError: no node is attributed, or ``select`` matches nothing.
        """
        need_attributions(model, self.name, ctx.warnings)
        changed = 0
        labels: dict[str, int] = {}
        for node, label in self._labels(model):
            labels[label] = labels.get(label, 0) + 1
            changes = placed(node.metadata, label)
            if changes:
                node.patch_metadata(changes)
                changed += 1
        return PassResult(changed=changed, notes={"labels": labels})

    def _labels(self, model: Model) -> list[tuple[Node, str]]:
        if self.depth is None:
            assert self.select is not None and self.label is not None
            return [(node, self.label) for node in selected(model, self.name, "select", self.select).nodes]
        cut: dict[str, str] = {}
        found = []
        for node in model.nodes():
            if node.attribution is None:
                continue
            path = node.attribution.path
            if path not in cut:
                cut[path] = called_chain(model, path)[: self.depth][-1] if path else ""
            if cut[path]:
                found.append((node, cut[path]))
        return found


def called_chain(model: Model, path: str) -> list[str]:
    """Paths of the called modules from below the root down to ``path``."""
    chain = []
    here: str | None = path
    while here:
        chain.append(here)
        here = model.modules.parent(here)
    return chain[::-1]
