"""Which modules of a trace a file doesn't hold: it has other modules' weights, and none of theirs.

A trace of a whole model has equal computations in several parts, such as the attention of an encoder and a decoder. A
file of one part must not get answers from the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from modelexport.ir.arrays import Array
from modelexport.ir.io.trace_file import Trace
from modelexport.ir.model import Model
from modelexport.passes.evidence.names.counted import is_weight
from modelexport.passes.evidence.values.fingerprints import NUMEL, close_rows, fingerprint, is_rich
from modelexport.passes.evidence.values.initializers import Initializers
from modelexport.passes.evidence.values.weights_match import WeightIndex

# Of the file's weights so many must be known, by name or by value, or what is missing may be among the others (weights
# that were quantised or merged).
_KNOWN = 0.9


def lacking(model: Model, trace: Trace, paths: Iterable[str]) -> frozenset[str]:
    """Those of ``paths`` that lie in a module that owns weights of which the file has none.

    For a decoder's file with a trace of the whole T5: 3 of 485 tags that were of the encoder at 1.00.
    """
    wanted = set(paths)
    index = WeightIndex(trace)
    named = {index.names[name] for name in _names(model) if name in index.names}
    owned = _owned(trace)
    missing = {path for path in wanted if _misses(path, owned, named)}
    if not missing:
        return frozenset()
    found, total = _by_value(model, index)
    known = len(named) + len(found)
    if not known or known < _KNOWN * (len(named) + total):
        return frozenset()
    return frozenset(path for path in missing if _misses(path, owned, named | found))


def _names(model: Model) -> Iterator[str]:
    for graph in model.graphs():
        yield from graph.initializers
        yield from (node.first_output for node in graph.nodes if node.op_type in ("Constant", "Identity"))


def _owned(trace: Trace) -> dict[str, set[int]]:
    """By path of a module, the parameters in it that no other module has under a name of its own or as an equal."""
    stats = trace.parameter_stats
    by_size: dict[float, Array] = {
        float(size): stats[stats[:, NUMEL] == size] for size in np.unique(stats[: len(trace.parameters), NUMEL])
    }
    owned: dict[str, set[int]] = defaultdict(set)
    for number, parameter in enumerate(trace.parameters):
        if parameter.aliases or parameter.module < 0 or not is_rich(stats[number]):
            continue
        if close_rows(by_size[float(stats[number][NUMEL])], stats[number], 1e-3).sum() > 1:  # itself is one
            continue
        for prefix in _prefixes(trace.modules[parameter.module].path):
            owned[prefix].add(number)
    return owned


def _misses(path: str, owned: dict[str, set[int]], held: set[int]) -> bool:
    return any(prefix in owned and owned[prefix].isdisjoint(held) for prefix in _prefixes(path))


def _prefixes(path: str) -> Iterator[str]:
    end = path.find(".")
    while end >= 0:
        yield path[:end]
        end = path.find(".", end + 1)
    if path:
        yield path


def _by_value(model: Model, index: WeightIndex) -> tuple[set[int], int]:
    """The parameters that weights without a known name are, and how many such weights there are."""
    found: set[int] = set()
    total = 0
    weights = Initializers(model)
    for name in model.main.initializers:
        array = weights.get(name) if name not in index.names else None
        if array is None or array.dtype.kind not in "fiu" or not is_rich(fingerprint(array)[0]):
            continue
        total += 1
        owner = index.by_value(array)
        if owner is not None:
            found.update(index.names[each] for each in owner.parameters if each in index.names)
    constants = (node for node in model.nodes() if node.op_type == "Constant" and is_weight(node))
    return found, total + sum(node.first_output not in index.names for node in constants)
