"""Whether other tools leave out exactly what a selector selects: ``python bench/exclusion_lists.py MODEL SELECTOR``.

The lists that ``modelexport select`` prints are put through onnxruntime's quantiser, Olive's pass and NNCF's own
reader of ignored scopes, each where it is installed (``pip install olive-ai nncf``). Nodes need names of their own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import onnx

from modelexport.core.selection import Selection, select

Quantise = Callable[[Path, Path, list[str]], None]


def onnxruntime(source: Path, target: Path, excluded: list[str]) -> None:
    """Quantise as onnxruntime does."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(source), str(target), nodes_to_exclude=excluded)


def olive(source: Path, target: Path, excluded: list[str]) -> None:
    """Quantise as Olive does."""
    from olive.model import ONNXModelHandler
    from olive.passes.olive_pass import create_pass_from_dict
    from olive.passes.onnx.quantization import OnnxDynamicQuantization

    config = {"nodes_to_exclude": excluded, "quant_preprocess": False}  # which renames nodes
    step = create_pass_from_dict(OnnxDynamicQuantization, config, disable_search=True)
    made = step.run(ONNXModelHandler(model_path=str(source)), str(target.with_suffix("")))
    onnx.save(onnx.load(made.model_path), target)


def left_out(source: Path, excluded: list[str], quantise: Quantise) -> tuple[set[str], set[str]]:
    """The nodes that are quantised without a list and not with it, and all that are without."""
    proto = onnx.load(source)
    names = {node.name for node in proto.graph.node}
    gone = []
    with tempfile.TemporaryDirectory() as folder:
        del proto.graph.value_info[:]  # stale shapes of an exporter, which the quantisers refuse
        source = Path(folder) / "source.onnx"
        onnx.save(proto, source)
        for number, each in enumerate(([], excluded)):
            target = Path(folder) / f"{number}.onnx"
            quantise(source, target, each)
            left = {node.name for node in onnx.load(target).graph.node}
            gone.append({name for name in names - left if f"{name}_MatMul" not in left})  # a Gemm is split first
    assert gone[1] <= gone[0], "more is quantised with a list"
    return gone[0] - gone[1], gone[0]


def nncf(source: Path, chosen: Selection) -> str:
    """What NNCF's own reader makes of its list."""
    from nncf import IgnoredScope
    from nncf.onnx.graph.nncf_graph_builder import GraphConverter
    from nncf.scopes import get_ignored_node_names_from_ignored_scope

    scope = IgnoredScope(**chosen.to("nncf")["ignored_scope"])
    found = get_ignored_node_names_from_ignored_scope(scope, GraphConverter.create_nncf_graph(onnx.load(source)))
    return verdict(found, set(chosen.names))


def verdict(found: set[str], expected: set[str]) -> str:
    """Both sets in a line."""
    same = "exactly these" if found == expected else f"wrong: {sorted(found ^ expected)[:3]}"
    return f"{len(found)} of {len(expected)} selected nodes left out, {same}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("selector")
    options = parser.parse_args()
    chosen = select(options.model, options.selector)
    quantisers: dict[str, Quantise] = {"onnxruntime": onnxruntime, "olive": olive}
    for package, quantise in quantisers.items():
        if find_spec(package) is None:
            print(f"{package}: not installed")
            continue
        kind = "ort" if package == "onnxruntime" else package
        found, all_ = left_out(options.model, chosen.to(kind)["nodes_to_exclude"], quantise)
        print(f"{package}: of {len(all_)} nodes that it quantises {verdict(found, set(chosen.names) & all_)}")
    print("nncf:", nncf(options.model, chosen) if find_spec("nncf") is not None else "not installed")


if __name__ == "__main__":
    main()
