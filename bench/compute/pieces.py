"""Every module of many graphs cut out, run and compared with the whole, bit for bit; so are chains of stages.

    python bench/compute/pieces.py FILE.onnx ...          # for example what graphs.py writes

Prints a line a file: modules, boundary values compared, values that differ, refusals by reason, and the seconds that
extracting took against reading the file. Of a module that runs several times, its first call and all calls are cut
out. Chains: the modules of each depth, in order, as many as can be cut at, up to five; the stages run one after the
other, and the outputs of the whole are compared.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from modelexport.ir import load_model
from modelexport.ir.errors import ConfigError, InputError
from modelexport.ir.model import Model
from modelexport.passes.partition.extraction import extract_piece
from modelexport.passes.partition.members import known_paths
from modelexport.passes.partition.stages import Chain, split_chain
from modelexport.passes.partition.verification import verify
from modelexport.passes.pipeline.attributed import attributed
from modelexport.passes.running.inputs import make_inputs, model_inputs
from modelexport.passes.running.outputs import compute, rounded_values, same_bits
from modelexport.passes.running.session import as_ort_values


def measure(file: str) -> tuple[int, int, int, Counter[str]]:
    """Modules, values compared, values that differ, refusals by reason."""
    begun = time.perf_counter()
    load_model(file)
    read = time.perf_counter() - begun
    model = attributed(file)
    infos = model_inputs(model)
    shapes = {
        info.name: [dim if isinstance(dim, int) else 2 + axis for axis, dim in enumerate(info.dims or ())]
        for info in infos
    }
    refused: Counter[str] = Counter()
    pieces = []
    begun = time.perf_counter()
    for path in known_paths(model):
        for call in (None, 1, "all"):
            try:
                pieces.append(extract_piece(model, [path], call=call))
                break
            except ConfigError as error:
                reason = str(error).split(": ", 1)[-1].split(";")[0][:60]
                if call is None and "name a call" not in reason:
                    refused[reason] += 1
                    break
                if call == "all":
                    refused[reason] += 1
    cost = (time.perf_counter() - begun) / max(len(pieces), 1)
    feeds = as_ort_values(make_inputs(model, shapes=shapes), {info.name: info.elem_type for info in infos})
    found = verify(model, [piece for piece in pieces if not piece.random], feeds)
    made = chains(model) if not any(piece.random for piece in pieces) else []
    broken = sum(not runs_the_same(model, chain, feeds) for chain in made)
    refused["chains"], refused["stages"] = len(made), sum(len(chain.stages) for chain in made)
    told = f"{len(pieces)} modules, {found.compared} values, {len(found.different)} differ, {broken} chains differ"
    took = f"a piece takes {cost / read:.1f}x reading, {1000 * cost:.0f} ms"
    print(f"{file}: {told}, {took}, refused {dict(refused)}", flush=True)
    return len(pieces), found.compared, len(found.different) + broken, refused


def chains(model: Model) -> list[Chain]:
    """For each depth a chain cut at as many modules of that depth as can be."""
    found = []
    paths = [path for path in known_paths(model) if path]
    for depth in sorted({path.count(".") for path in paths}):
        at: list[str] = []
        chain = None
        for path in [path for path in paths if path.count(".") == depth][:12]:
            try:
                chain = split_chain(model, [*at, path])
                at.append(path)
            except ConfigError:
                continue
            if len(at) == 5:
                break
        found += [chain] if chain is not None else []
    return found


def runs_the_same(model: Model, chain: Chain, feeds: Mapping[str, Any]) -> bool:
    """Whether the stages, one after the other, give the outputs of the whole bit for bit."""
    rounded = rounded_values(model)
    expected = compute(model, feeds, model.main.outputs, "the whole", rounded)
    values = dict(feeds)
    for stage in chain.stages:
        given = {name: values[name] for name in stage.cut.inputs}
        values.update(compute(stage.model, given, stage.cut.outputs, "a stage", rounded))
    return all(same_bits(values[name], expected[name]) for name, _ in chain.outputs if name in expected)


def main() -> int:
    """See the module."""
    total: Counter[str] = Counter()
    for file in sys.argv[1:]:
        try:
            modules, compared, different, refused = measure(file)
        except InputError as error:
            print(f"{file}: not run: {error}")
            total["not run"] += 1
            continue
        total.update({"modules": modules, "values": compared, "different": different}, **refused)
    print(dict(total))
    return 1 if total["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
