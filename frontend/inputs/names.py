"""Names of inputs and outputs that were asked for, against what the exported graph has.

torch's exporters pass over names that fit nothing, or give them to weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import onnx

from modelexport.ir.errors import ConfigError, nearest


def check_names(graph: onnx.GraphProto, options: Mapping[str, Any], weights: Collection[str] = ()) -> None:
    """Check ``input_names``, ``output_names`` and ``dynamic_axes`` in ``options``.

    Args:
        weights: names of weights that are kept apart from the graph.

    Raises:
        ConfigError: more names than values, or axes of a value that the graph does not have.
    """
    held = {*weights, *(tensor.name for tensor in graph.initializer)}
    values = {
        "input": [value.name for value in graph.input if value.name not in held],
        "output": [value.name for value in graph.output],
    }
    for kind, found in values.items():
        names = options.get(f"{kind}_names") or ()
        if len(names) > len(found):
            raise ConfigError(f"{kind}_names has {len(names)} names, the model has {len(found)}: {', '.join(found)}")
    known = values["input"] + values["output"]
    for name in options.get("dynamic_axes") or ():
        if name not in known:
            raise ConfigError(f"dynamic_axes: the model has no input or output {name!r}{hint(name, known)}")


def hint(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known, to append to a message."""
    known = list(known)
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else f"; it has {', '.join(known)}"
