"""Which module owns a weight, and whose work a fused node does."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx

from modelexport.ir.identity.tables import Tables
from modelexport.ir.io.embedded_tags import packed_tables
from modelexport.ir.io.merged_tags import parts_of
from modelexport.ir.io.subgraph import is_inside
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import CARRIERS, category
from modelexport.ir.scope import Scope
from modelexport.ir.text import text
from modelexport.passes.evidence.names.parameters import owner_of
from modelexport.passes.evidence.records.reference_index import made_of
from modelexport.passes.running.values import Value

REWRITE_RULE = "pkg.onnxscript.rewriter.rule_name"
_REWRITTEN = frozenset({REWRITE_RULE})
_FUSED_NAMES = (
    "NhwcFusedConv GemmFastGelu DynamicQuantizeMatMul MatMulIntegerToFloat TransposeMatMul MatMulNBitsMlp "
    "MatMulNBitsQkv"
)
_FUSED = frozenset(_FUSED_NAMES.split())
_LAYOUT_ONLY = frozenset({"FusedMatMul", "TransposeMatMul"})  # fused with what turns or scales, not with other work
_BY_OUTPUT = frozenset({"output-name", "table-output"})
_HOPS = 8  # carriers between a weight and the node that multiplies with it


class Owners:
    """Owners of a model's weights by their names, else by who reads them first."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tables: Tables | None = None
        # what tags alone tell of modules is no list of all that there are; a file with one table needs no look at them
        alone = len(packed_tables(model.metadata)) == 1
        told = set() if alone else {module.path for module in parts_of(model, []).told()}
        self._declared = any(module.cls and module.path not in told for module in model.modules)
        self._known = {module.path for module in model.modules}
        self._known.update(node.attribution.path for node in model.nodes() if node.attribution is not None)
        for path in list(self._known):
            path = path.rpartition(".")[0]
            while path and path not in self._known:
                self._known.add(path)
                path = path.rpartition(".")[0]

    def named(self, name: str) -> str | None:
        """The module that the initializer is named after, by its first name; None where no known module is."""
        owner = owner_of(name)
        if owner is None:
            return None
        path = owner
        while path and path not in self._known:
            path = path.rpartition(".")[0]
        if path != owner and not self._declared:
            return owner  # nobody says which modules there are
        return self._model.modules.canonical(path) if path else None

    def of(self, graph: Scope, name: str) -> str:
        """The module that an initializer's elements are counted for."""
        found = self.named(name)
        if found is not None:
            return found
        for reader in _readers(graph, name):
            if reader.attribution is not None:
                return reader.attribution.path
        return ""

    def charged(self, node: Node) -> str | None:
        """The module that owns the weight of a fused node, where that is not the node's own; else None.

        A rewritten or turned node that is recorded for a module around the owner may as well be the outer module's own
        call with weights that it borrows (``F.linear(x, self.out.weight, self.out.bias)``): it is, unless it reads
        others too.
        """
        is_fused = node.op_type.startswith("Fused") or node.op_type in _FUSED
        by_output = node.attribution is not None and node.attribution.rule in _BY_OUTPUT
        is_joined = node.op_type in _LAYOUT_ONLY or (node.op_type == "Gemm" and by_output)
        if not is_fused and not is_joined and not node.has_metadata(_REWRITTEN):
            return None
        path = node.attribution.path if node.attribution is not None else ""
        if is_joined:
            product = self._recorded_product(node)
            if product is not None:
                return product if product != path else None
        for value in (*node.inputs[1:], *node.inputs[:1]):
            found = self._weight(node.graph, value)
            owner = self.named(found[1]) if found is not None else None
            if found is None or owner is None:
                continue
            if owner == path or self._is_tied(*found, node, owner):
                return None
            borrowed = not path or owner.startswith(path + ".")
            joins = is_fused and node.op_type not in _LAYOUT_ONLY
            if not joins and borrowed and self._owns_all(node, owner):
                return None
            return owner
        return None

    def _recorded_product(self, node: Node) -> str | None:
        """The module on record for the product that a product with something else was made of; its name says which.

        Without it are wrong: in squeezebert after onnxruntime's extended level two modules of 52, whose products became
        one node with the scaling in the module around, which its output is named after; in timesformer after onnxslim
        4 of 62, where the Gemm of a Linear directly before another one has an output that is named after that one.
        """
        if self._tables is None:
            self._tables = parts_of(self._model, []).tables() or Tables()
        record = made_of(self._tables, node)
        return None if record is None else record.path

    def _owns_all(self, node: Node, owner: str) -> bool:
        """Whether every initializer that a node reads is its weight's owner's."""
        held = [value for value in node.inputs if value and node.graph.is_given(value)]
        return all(self.named(value) == owner for value in held if value in node.graph.initializers_set)

    def _weight(self, graph: Scope, value: str) -> tuple[Scope, str] | None:
        """The matrix that a value is, as an initializer behind nodes that only carry it."""
        scope: Scope | None = graph
        for _ in range(_HOPS):
            while scope is not None and not scope.defines(value):
                scope = scope.parent
            if scope is None or not value:
                return None
            if value in scope.initializers_set:
                return (scope, value) if _rank(scope, value) >= 2 else None
            maker = scope.producer(value)
            if maker is None or category(maker.op_type, maker.domain) not in CARRIERS or not maker.inputs:
                return None
            value = maker.inputs[0]
        return None

    def _is_tied(self, graph: Scope, name: str, node: Node, owner: str) -> bool:
        """Whether the owner itself reads the weight elsewhere: then the node only borrows it.

        So does a module around the owner for it, where the node is of another: exporters merge equal weights, as those
        of the copies of one layer are. Without it the output projection of the second of two encoder layers is counted
        for the first, which has 49,280 FLOPs then, and the second 39,040, of 44,160 each.
        """
        path = node.attribution.path if node.attribution is not None else ""
        for reader in _readers(graph, name):
            attribution = reader.attribution
            if reader is node or attribution is None:
                continue
            for_owner = bool(attribution.path) and is_inside(owner, attribution.path) and not is_inside(owner, path)
            if attribution.path == owner or for_owner:
                carried = category(reader.op_type, reader.domain) in CARRIERS and reader.op_type != "Gather"
                if not carried:
                    return True
        return False


def _readers(graph: Scope, name: str) -> Iterator[Node]:
    """Nodes that read a value of ``graph`` themselves, in bodies too."""
    for node in graph.consumers(name):
        if name in node.inputs:
            yield node
        if name in node.captures:
            for body in node.bodies:
                if not body.defines(name):
                    yield from _readers(body, name)


def _rank(graph: Scope, name: str) -> int:
    if not isinstance(graph.proto, onnx.GraphProto):
        return 0
    for tensor in graph.proto.initializer:
        if text(tensor.name) == name:
            return len(tensor.dims)
    return 0


def weights(graph: Scope) -> Iterator[tuple[str, int, int | None]]:
    """Every initializer of a graph: name, elements, and bytes as stored (None for strings). Sparse ones as stored."""
    if not isinstance(graph.proto, onnx.GraphProto):
        return
    kinds: dict[tuple[int, tuple[int, ...]], Value] = {}
    for tensor in graph.proto.initializer:
        kind = tensor.data_type, tuple(tensor.dims[:])
        value = kinds.get(kind) or kinds.setdefault(kind, Value(*kind))
        yield text(tensor.name), value.elements or 0, value.nbytes
    for sparse in graph.proto.sparse_initializer:
        values, indices = sparse.values, sparse.indices
        sizes = [Value(t.data_type, tuple(t.dims)).nbytes for t in (values, indices)]
        size = None if None in sizes else sum(each or 0 for each in sizes)
        yield text(values.name), math.prod(values.dims), size
