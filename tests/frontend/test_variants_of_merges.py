"""Tagged models of generated shapes, merged and prefixed with onnx.compose: the tags of one never go to the other."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import compose
from test_variants import Maker

from modelexport import HierarchyExporter
from modelexport.cli import htp_opt

WIDTH = 6
EXPORTERS = ["torchscript", "dynamo"]
SEEDS = [pytest.param(0), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))]
PREFIXES = ("enc_", "m1.", "first/", "a_b_", "x", "Model_")


def parts(seed: int, exporter: Any, folder: Path) -> list[onnx.ModelProto]:
    """Two or three tagged exports that fit each other; in some the same modules have the same paths."""
    made, found = random.Random(seed), []
    for at in range(2 + seed % 2):
        torch.manual_seed(seed + at)
        model = Maker(seed + at * (seed % 3), ("no_grad", "plain")).model(1 + at % 2).eval()
        example = torch.linspace(-1, 1, 2 * WIDTH).reshape(2, WIDTH)
        options = {"input_names": [f"in_{at}"], "output_names": [f"out_{at}"]}
        HierarchyExporter(exporter=exporter).export(
            model, example, folder / f"{at}.onnx", opset_version=18 if exporter == "dynamo" else 17, **options
        )
        if made.random() < 0.4:  # without the tables that are kept in the model's metadata
            passes = "scope-attribution,fallback-tagging,attribute-embedding{table=false}"
            assert htp_opt.main([str(folder / f"{at}.onnx"), "--in-place", "-q", "--passes", passes]) == 0
        found.append(onnx.load(folder / f"{at}.onnx"))
    return found


def tags(model: onnx.ModelProto) -> dict[str, dict[str, str]]:
    """Metadata of every node of the main graph, by its first output."""
    return {node.output[0]: {each.key: each.value for each in node.metadata_props} for node in model.graph.node}


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_merged(seed: int, exporter: str, tmp_path: Path) -> None:
    made = random.Random(seed)
    models = parts(seed, exporter, tmp_path)
    prefixes = made.sample(PREFIXES, len(models))
    whole = compose.add_prefix(models[0], prefixes[0])
    for at, model in enumerate(models[1:], 1):
        joined = [(f"{prefixes[at - 1]}out_{at - 1}", f"{prefixes[at]}in_{at}")]
        whole = compose.merge_models(whole, compose.add_prefix(model, prefixes[at]), io_map=joined)
    onnx.checker.check_model(whole)
    onnx.save(whole, tmp_path / "whole.onnx")
    assert htp_opt.main([str(tmp_path / "whole.onnx"), "-o", str(tmp_path / "again.onnx"), "-q"]) == 0
    after = tags(onnx.load(tmp_path / "again.onnx"))
    heads = []
    for model, prefix in zip(models, prefixes, strict=True):
        nodes = tags(model)
        found = {prefix + output: entry for output, entry in nodes.items() if prefix + output in after}
        assert len(found) >= len(nodes) - 1  # the value that joins two has one name
        segments = set()
        for output, entry in found.items():
            path, inside = after[output]["htp.path"], entry["htp.path"]
            assert path == inside or path.endswith(f".{inside}") or not inside, output
            segments.add(path[: len(path) - len(inside)].rstrip("."))
            assert after[output]["htp.confidence"] == entry["htp.confidence"]
        assert len(segments) == 1, segments
        heads.append(segments.pop())
    assert len(set(heads)) == len(heads), heads


@pytest.mark.parametrize("seed", SEEDS)
def test_prefixed_exports_of_others(seed: int, tmp_path: Path) -> None:
    """All names of a plain export under a prefix, with and without an export without it as the reference."""
    made = random.Random(seed)
    torch.manual_seed(seed)
    model = Maker(seed, ("no_grad", "plain")).model(1 + seed % 2).eval()
    example = torch.linspace(-1, 1, 2 * WIDTH).reshape(2, WIDTH)
    torch.onnx.export(model, (example,), tmp_path / "plain.onnx", dynamo=False, opset_version=17)
    plain, prefix = onnx.load(tmp_path / "plain.onnx"), made.choice(PREFIXES)
    assert htp_opt.main([str(tmp_path / "plain.onnx"), "-o", str(tmp_path / "reference.onnx"), "-q"]) == 0
    truth = tags(onnx.load(tmp_path / "reference.onnx"))
    onnx.save(compose.add_prefix(plain, prefix), tmp_path / "prefixed.onnx")
    for more in ([], ["--reference", str(tmp_path / "reference.onnx")]):
        target = tmp_path / "tagged.onnx"
        assert htp_opt.main([str(tmp_path / "prefixed.onnx"), "-o", str(target), "-q", *more]) == 0
        found = tags(onnx.load(target))
        for output, entry in truth.items():
            path, wanted = found[prefix + output]["htp.path"], entry["htp.path"]
            right = path in (wanted, prefix + wanted, f"{prefix.rstrip('./_')}.{wanted}".rstrip("."))
            assert right or float(found[prefix + output]["htp.confidence"]) < 0.9, (output, path, wanted)
        paths = {output: found[prefix + output]["htp.path"].removeprefix(prefix) for output in truth}
        assert sum(paths[output].endswith(entry["htp.path"]) for output, entry in truth.items()) > 0.95 * len(truth)
