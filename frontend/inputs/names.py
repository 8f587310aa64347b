"""Names of inputs and outputs that were asked for, against what the exported graph has.

torch's exporters pass over names that fit nothing, or give them to weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import onnx

from modelexport.ir.errors import ConfigError, nearest


def check_names(
    graph: onnx.GraphProto, options: Mapping[str, Any], weights: Collection[str] = (), given: int | None = None
) -> list[str]:
    """Check ``input_names``, ``output_names`` and ``dynamic_axes`` in ``options``.

    Args:
        weights: names of weights that are kept apart from the graph.
        given: how many tensors the model was called with; exporters leave those out that the model does not use.

    Returns:
        Warnings: names that went to nothing or to weights, and axes of values that the graph does not have.

    Raises:
        ConfigError: a name that something else in the graph has as well.
    """
    held = {*weights, *(tensor.name for tensor in graph.initializer)}
    keeps = bool(options.get("keep_initializers_as_inputs")) or held <= {value.name for value in graph.input}
    asked = {kind: [*(options.get(f"{kind}_names") or ())] for kind in ("input", "output")}
    has = {
        "input": [value.name for value in graph.input if value.name not in held],
        "output": [value.name for value in graph.output],
    }
    warnings: list[str] = []
    for kind, names in asked.items():
        _check_clashes(graph, f"{kind}_names", names, held, keeps)
        warnings += [
            f"{kind}_names: {name!r} became the name of a weight, as torch names what follows the inputs; leave the "
            "name out unless that is meant"
            for name in names
            if name in held
        ]
        fed = max(len(has[kind]), given or 0 if kind == "input" else 0)
        for position, name in enumerate(names):
            if name in has[kind] or name in held:
                continue
            if position >= fed:
                told = f"{kind}_names has {len(names)} names, the model has {len(has[kind])}: {', '.join(has[kind])}"
                warnings.append(f"{told}; leave {name!r} out")
            elif kind == "input":
                warnings.append(
                    f"input_names: the file has no input {name!r}: the model does not use it, or hands it on as an "
                    "output; leave the name out, and do not feed it"
                )
    known = [*has["input"], *has["output"]]
    elsewhere = {*asked["input"], *asked["output"], *held}
    warnings += [
        f"dynamic_axes: the model has no input or output {name!r}{hint(name, known)}; its axes have no effect"
        for name in options.get("dynamic_axes") or ()
        if name not in known and name not in elsewhere
    ]
    return warnings


def _check_clashes(graph: onnx.GraphProto, option: str, names: Collection[str], held: set[str], keeps: bool) -> None:
    """Refuse names that two values of the graph would share; torch renames one without looking at the others."""
    if not names:
        return
    makers: dict[str, list[str]] = {name: [] for name in names}
    for name, maker in _made(graph, held, keeps):
        if name in makers:
            makers[name].append(maker)
    for name, found in makers.items():
        if len(found) > 1:
            raise ConfigError(
                f"{option}: {name!r} would be the name of {found[0]} and of {found[1]}: choose another name"
            )


def _made(graph: onnx.GraphProto, held: set[str], keeps: bool) -> Iterator[tuple[str, str]]:
    """(name, what has it) for everything that a graph and its bodies define; a weight that is an input too once."""
    seen: set[str] = set()
    for value in graph.input:
        if not (keeps and value.name in held and value.name not in seen):
            yield value.name, f"the input {value.name!r}"
        seen.add(value.name)
    for name in held:
        yield name, f"the weight {name!r}"
    for node in graph.node:
        for output in node.output:
            yield output, f"what {node.op_type} {node.name!r} computes"
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _made(body, {tensor.name for tensor in body.initializer}, True)


def hint(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known, to append to a message."""
    known = list(known)
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else f"; it has {', '.join(known)}"
