"""What is known of the nodes that a tool makes, apart from the code under test: see ``tools.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import onnx
import torch
import truth

FORMS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")
MADE_OF = {
    "HardSigmoid": ("HardSwish",),
    "QuickGelu": ("Sigmoid",),
    "Gelu": ("Erf",),
}  # what merged or divided nodes are of
_SUFFIXES = ("_DequantizeLinear_Output", "_QuantizeLinear_Output", "_QuantizeLinear_Input", "_quantized")


def common(paths: Iterable[str], containers: frozenset[str]) -> str:
    """The innermost module around all of them that is called."""
    first, *others = [path.split(".") if path else [] for path in paths]
    same = (len({*column}) == 1 for column in zip(first, *others, strict=False))
    atoms = first[: sum(1 for _ in takewhile(bool, same))]
    while ".".join(atoms) in containers:
        atoms = atoms[:-1]
    return ".".join(atoms)


def chain(nodes: Iterable[onnx.NodeProto], op_type: str) -> list[onnx.NodeProto]:
    """The nodes of a type in the one order in which each depends on the one before; [] where there is no such order."""
    rank: dict[str, int] = {}
    found: list[onnx.NodeProto] = []
    for node in nodes:
        above = max((rank.get(value, 0) for value in node.input), default=0)
        if node.op_type == op_type:
            if above != len(found):
                return []
            found.append(node)
            above += 1
        rank.update(dict.fromkeys(node.output, above))
    return found


class Before:
    """The export and its truth, by output name."""

    def __init__(self, path: Path, known: dict[str, str], containers: frozenset[str]) -> None:
        proto = onnx.load(path)
        self.nodes = list(proto.graph.node)
        self.known = known
        self.containers = containers  # modules that are never called
        self.names: dict[str, onnx.NodeProto] = {}
        self.outputs: dict[str, onnx.NodeProto] = {}
        self.makers: dict[str, str] = {}
        self.readers: dict[str, list[str | None]] = {}  # None for one that truth does not know
        self.weights = {tensor.name for tensor in proto.graph.initializer}
        self.inputs = {value.name for value in proto.graph.input} - self.weights
        for node in truth.nodes_of(proto.graph):
            if node.name:
                self.names.setdefault(node.name, node)
            if node.output:
                self.outputs[node.output[0]] = node
            path_of = known.get(node.output[0]) if node.output else None
            if path_of is not None:
                self.makers.update(dict.fromkeys(node.output, path_of))
            for value in node.input:
                self.readers.setdefault(value, []).append(path_of)

    def value(self, name: str) -> str:
        """The value of the export that ``name`` is made from; "" for none."""
        while name not in self.makers and name not in self.inputs:
            cut = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), "")
            if not cut:
                return ""
            name = cut
        return name


def read_by(before: Before, value: str, readers: dict[str, list[onnx.NodeProto]]) -> Iterator[str | None]:
    """The modules that read a value, through quantisers and dequantisers that are new."""
    for reader in readers.get(value, ()):
        old = before.names.get(reader.name) or before.outputs.get(reader.output[0])
        if old is not None:
            yield before.known.get(old.output[0])
        elif reader.op_type in FORMS:
            yield from read_by(before, reader.output[0], readers)
        else:
            yield None


def right(
    before: Before,
    node: onnx.NodeProto,
    weights: set[str],
    readers: dict[str, list[onnx.NodeProto]],
    nodes: list[onnx.NodeProto],
) -> tuple[str, str | None]:
    """Kind of a new node, and the module it is from where that is known."""
    if node.op_type in FORMS and node.input[0] in weights:
        return "weight", around(before, [path for value in node.output for path in read_by(before, value, readers)])
    if node.op_type in FORMS:
        value = before.value(node.input[0])
        if value in before.inputs:
            return "value", around(before, before.readers.get(value, ()))
        return "value", before.makers.get(value)
    named = before.outputs.get(node.name.removesuffix("_nchwc"))
    if named is not None and any(entry.s.decode() == named.op_type for entry in node.attribute if entry.s):
        return "other", before.known.get(named.output[0])  # the value it makes is the activation's
    owners = [
        set(before.readers.get(value, ()))
        for value in node.input
        if value in before.weights and len(readers[value]) <= len(before.readers.get(value, ()))  # not merged since
    ]
    if owners and all(len(paths) == 1 and None not in paths for paths in owners):
        return "other", around(before, [path for paths in owners for path in paths])
    new_chain = chain(nodes, node.op_type)
    for op_type in (node.op_type, *MADE_OF.get(node.op_type, ())):
        old_chain = chain(before.nodes, op_type)
        if old_chain and len(old_chain) == len(new_chain) and node in new_chain:
            return "other", before.known.get(old_chain[new_chain.index(node)].output[0])
    if not any(value in weights for value in node.input):
        places = {
            before.makers.get(was)
            for value in node.output
            for reader in readers.get(value, ())
            if (old := before.names.get(reader.name) or before.outputs.get(reader.output[0])) is not None
            for was, now in zip(old.input, reader.input, strict=False)
            if now == value and len(old.input) == len(reader.input)
        }
        if len(places) == 1 and None not in places:
            return "other", places.pop()
    made = {before.makers.get(before.value(value)) for value in node.input if value and value not in weights}
    after = set()
    for value in node.output:
        for reader in readers.get(value, ()):
            old = before.names.get(reader.name) or before.outputs.get(reader.output[0])
            after.add(before.known.get(old.output[0]) if old is not None else None)
    paths_around = made | after
    return "other", paths_around.pop() if len(paths_around) == 1 else None


def around(before: Before, paths: Iterable[str | None]) -> str | None:
    """The module around all of them; None where there are none or one is not known."""
    known = list(paths)
    return common([str(path) for path in known], before.containers) if known and None not in known else None


def never_called(network: torch.nn.Module, inputs: dict[str, Any]) -> frozenset[str]:
    """Modules that hold others and do not run themselves when the network does."""
    called: set[torch.nn.Module] = set()
    handles = [each.register_forward_pre_hook(lambda module, _: called.add(module)) for each in network.modules()]
    with torch.no_grad():
        network(**inputs)
    for handle in handles:
        handle.remove()
    return frozenset(path for path, each in network.named_modules() if each not in called)
