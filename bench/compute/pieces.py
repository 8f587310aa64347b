"""Every module of many graphs cut out, run and compared with the whole, bit for bit.

    python bench/compute/pieces.py FILE.onnx ...          # for example the cases that bench/accuracy/run.py leaves

Prints a line a file: modules, boundary values compared, values that differ, refusals by reason, and the seconds that
extracting took against reading the file.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from modelexport.ir import load_model
from modelexport.ir.errors import ConfigError, InputError
from modelexport.passes.partition.extraction import extract_piece
from modelexport.passes.partition.members import known_paths
from modelexport.passes.partition.verification import verify
from modelexport.passes.pipeline.attributed import attributed
from modelexport.passes.running.inputs import make_inputs, model_inputs
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
        try:
            pieces.append(extract_piece(model, [path], call=None))
        except ConfigError as error:
            refused[str(error).split(": ", 1)[-1].split(";")[0][:60]] += 1
    cost = (time.perf_counter() - begun) / max(len(pieces), 1)
    feeds = as_ort_values(make_inputs(model, shapes=shapes), {info.name: info.elem_type for info in infos})
    found = verify(model, [piece for piece in pieces if not piece.random], feeds)
    print(f"{file}: {len(pieces)} modules, {found.compared} values, {len(found.different)} differ, "
          f"a piece takes {cost / read:.1f}x reading, refused {dict(refused)}", flush=True)  # fmt: skip
    return len(pieces), found.compared, len(found.different), refused


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
