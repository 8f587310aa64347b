"""Which module runs each function of a file, and each node in one, found by another way than the code under test.

A call is decided where exactly one module of the function's class returned its value. A node in a function is decided
where, with all functions inlined, exactly one module made its value in every call; it is from what these have in
common. Nodes of the main graph that call no function are not looked at.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import torch
from ground_truth import Comparison, Values, decide, eager_values, makers, node_values

_NODE = "truth.node"


def repeated_classes(model: torch.nn.Module) -> set[type]:
    """The classes of modules that a model has several of, as one makes functions of them; containers left out."""
    kinds = [type(module) for name, module in model.named_modules() if name]
    called = [kind for kind in kinds if kind.forward is not torch.nn.Module.forward]
    return {kind for kind in called if called.count(kind) > 1}


def compared(model: torch.nn.Module, example: Any, path: Path) -> Comparison:
    """Compare the tags of functions in the file at ``path`` with the modules that made or returned the values."""
    calls: set[str] = set()
    returned: list[tuple[str, str, np.ndarray]] = []
    made: dict[tuple[int, ...], Values] = defaultdict(list)
    for maker, value in eager_values(model, example, calls, returned):
        made[value.shape].append((maker, value))
    proto = onnx.load(path)
    copies, values = _values(proto, example, path)
    found = Comparison()
    for function, node in _nodes(proto):
        entries = {entry.key: entry.value for entry in node.metadata_props}
        key, tagged = entries.get(_NODE, ""), entries["htp.path"]
        found.nodes += 1
        truths: list[set[str]] = []
        if function:
            truths = [makers(value, made[value.shape]) for name in copies[key] if _tells(value := values.get(name))]
        elif _tells(value := values.get(node.output[0])):
            kind = node.op_type.partition(".")[0]
            truths = [makers(value, [(path, other) for path, cls, other in returned if cls == kind])]
        if tagged not in calls:
            decide(found, node.op_type, node.output[0], entries, ())
        elif truths and all(len(each) == 1 for each in truths) and (not function or len(truths) == len(copies[key])):
            decide(found, node.op_type, node.output[0], entries, (_common(set().union(*truths), calls),))
    return found


def _nodes(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.NodeProto]]:
    """Calls of functions in the main graph, and nodes of functions, with the name of the function."""
    kinds = {(function.domain, function.name) for function in proto.functions}
    yield from (("", node) for node in proto.graph.node if (node.domain, node.op_type) in kinds)
    yield from ((function.name, node) for function in proto.functions for node in function.node)


def _values(proto: onnx.ModelProto, example: Any, path: Path) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """What each node of a function makes in its calls, and all values of the graph without functions."""
    for at, (function, node) in enumerate(_nodes(proto)):
        if function:
            node.metadata_props.add(key=_NODE, value=str(at))
    flat = onnx.inliner.inline_local_functions(proto)
    copies: dict[str, list[str]] = defaultdict(list)
    for node in flat.graph.node:
        for entry in node.metadata_props:
            if entry.key == _NODE:
                copies[entry.value].append(node.output[0])
    target = path.with_suffix(".flat.onnx")
    onnx.save(flat, target)
    try:
        return copies, node_values(target, example)
    finally:
        os.unlink(target)


def _tells(value: object) -> bool:
    return isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating) and value.size > 3


def _common(paths: set[str], calls: set[str]) -> str:
    """The innermost module that was called and that all ``paths`` are at or below."""
    shared = min(paths, key=len)
    while shared and not (shared in calls and all(f"{path}.".startswith(f"{shared}.") for path in paths)):
        shared = shared.rpartition(".")[0]
    return shared
