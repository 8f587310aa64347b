"""Does a tool pass leave, without tags, field by field what the tool makes by itself?

    python bench/same_as_tool.py MODEL.onnx [MODEL.onnx ...]

The tools are called as their own documentation does, by ``tests/passes/tools/alone.py``. Exports of the benchmark's
models are in the folder that ``bench/tools.py --folder`` keeps; their tags are taken away first.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import onnx

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests" / "passes" / "tools")]
from alone import TOOLS, Tool  # noqa: E402
from tool_models import same  # noqa: E402

from modelexport.ir import load_model, save_model  # noqa: E402
from modelexport.ir.errors import ModelExportError  # noqa: E402
from modelexport.ir.io.writer import to_bytes  # noqa: E402
from modelexport.passes import PassManager  # noqa: E402


def compared(source: Path, text: str, tool: Tool, folder: Path) -> str:
    """``same``, ``different``, ``both fail`` or ``one fails``."""
    ours = theirs = None
    try:
        model = load_model(source)
        PassManager(f"htp,{text},strip-tags").run(model)
        ours = onnx.ModelProto.FromString(to_bytes(model))
    except ModelExportError as error:
        print(f"# {source.name} {text}: {error}", file=sys.stderr)
    try:
        theirs = tool(source, folder)
    except Exception as error:  # noqa: BLE001 - any class of any tool; told, and counted as a failure
        print(f"# {source.name} {text} alone: {type(error).__name__}", file=sys.stderr)
    if ours is None or theirs is None:
        return "both fail" if ours is None and theirs is None else "one fails"
    return "same" if same(ours, theirs) else "different"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    counts: dict[str, Counter[str]] = {text: Counter() for text in TOOLS if not text.startswith("quantize-static")}
    with tempfile.TemporaryDirectory() as name:
        for file in parser.parse_args().models:
            model, source = load_model(file), Path(name) / file.name
            PassManager("strip-tags").run(model)
            save_model(model, source)
            for text, found in counts.items():
                found[compared(source, text, TOOLS[text], Path(name))] += 1
    for text, found in counts.items():
        print(f"{text}: {', '.join(f'{count} {word}' for word, count in sorted(found.items()))}")
    return int(any(found["different"] or found["one fails"] for found in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
