"""Every tool pass for real: the tool's own result, the right modules, what the file carried, no talk on stdout."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime.quantization  # type: ignore[import-untyped]
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from alone import TOOLS, slim
from tool_models import EXPORTERS, MODELS, calibration, exported, same

from modelexport.core.selection import select
from modelexport.ir import Model, Source, load_model, save_model
from modelexport.ir.errors import ConfigError, InputError, MissingExtraError, PipelineError, ToolError
from modelexport.ir.io.embedded_tags import old_names_keys, packed_tables
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.pipeline.registry import PASSES
from modelexport.passes.tools.handover import call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def source(folder: Path, name: str = "stacked", exporter: str = "dynamo") -> Path:
    calibration(name, folder)
    path = folder / "m.onnx"
    path.write_bytes(exported(name, exporter))
    return path


def test_every_tool_is_tested() -> None:
    tools = {name for name, target in PASSES.items() if ".tools." in target}
    assert {element.partition("{")[0] for element in TOOLS} == tools


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tool", TOOLS)
def test_the_result_is_the_tools_and_every_node_has_its_module(
    tool: str, name: str, exporter: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = source(folder, name, exporter)
    before = load_model(path)
    PassManager("htp").run(before)
    capfd.readouterr()
    model = load_model(path)
    try:
        report = PassManager(f"htp,{tool}").run(model)
    except ToolError as failure:
        assert "Inferred shape" in str(failure)  # the quantiser's own; then it fails alone too
        with pytest.raises(Exception, match="Inferred shape"):
            TOOLS[tool](path, folder)
        return
    assert capfd.readouterr().out == ""
    notes = report.runs[-1].result.notes
    assert notes["nodes"] == [len(before.main), len(model.main)]
    assert notes["kept"] + notes["new"] == len(list(model.nodes()))  # type: ignore[operator]

    written = load_model(to_bytes(model))
    PassManager("htp").run(written)
    held = [node.attribution for node in written.nodes()]
    assert all(attribution is not None and attribution.evidence for attribution in held)
    found = [_read_back(node.attribution) for node in model.nodes()]
    assert list(map(_read_back, held)) == found  # the file says what the passes found
    _check_modules(before, model)

    stripped = load_model(to_bytes(model))
    PassManager("strip-tags").run(stripped)
    assert same(onnx.ModelProto.FromString(to_bytes(stripped)), TOOLS[tool](path, folder))


def _read_back(attribution: object) -> object:
    from dataclasses import replace

    from modelexport.ir import Attribution

    assert isinstance(attribution, Attribution)
    return replace(attribution, by="scope-attribution", confidence=round(attribution.confidence, 2), evidence=())


def _check_modules(before: Model, model: Model) -> None:
    """Kept nodes have their attribution; new ones are from the module that a reader of the code would name."""
    names = {node.name: node for node in before.nodes()}
    outputs = {node.first_output: node for node in before.nodes()}
    for node in model.nodes():
        assert node.attribution is not None and node.attribution.source is not Source.FALLBACK
        old = names.get(node.name) or outputs.get(node.first_output)
        if old is not None:
            assert old.attribution is not None and node.attribution.path == old.attribution.path
            assert (node.attribution.source, node.attribution.rule) == (old.attribution.source, old.attribution.rule)
            continue
        assert node.attribution.source in (Source.REFERENCE, Source.INHERITED)
        readers = {
            reader.attribution.path
            for value in node.outputs
            for reader in model.main.consumers(value)
            if reader.attribution is not None
        }
        if node.op_type == "DequantizeLinear" and node.inputs[0] in model.main.initializers_set and len(readers) == 1:
            assert node.attribution.path in readers
        if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear"):
            maker = outputs.get(node.inputs[0].removesuffix("_QuantizeLinear_Input"))
            if maker is not None and maker.attribution is not None:
                assert node.attribution.path == maker.attribution.path


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_excluded_nodes_stay_in_float(exporter: str, folder: Path) -> None:
    path = source(folder, "stacked", exporter)
    model = load_model(path)
    PassManager('htp,quantize-static{calibration=c.npz exclude="**.norm or path:head"}').run(model)
    quantised = {"DequantizeLinear", "QuantizeLinear"}
    for node in model.nodes():
        if node.attribution is None or node.op_type in quantised:
            continue
        inside = node.attribution.path == "head" or node.attribution.path.endswith("norm")
        makers = [maker for value in node.inputs if (maker := model.main.producer(value)) is not None]
        read = [maker for maker in makers if maker.op_type == "DequantizeLinear" and maker.attribution is not None]
        weights = [maker for maker in read if maker.inputs[0] in model.main.initializers_set]
        if inside and node.op_type not in ("Identity", "Add", "Mul"):  # these read weights that others share
            assert not weights, node
        elif node.op_type in ("MatMul", "Gemm"):
            assert weights, node


def test_the_same_selector_works_for_half_precision(folder: Path) -> None:
    model = load_model(source(folder))
    PassManager('htp,float16{keep-io=true block="class:LayerNorm or path:head"}').run(model)
    kinds = {tensor.name: tensor.data_type for tensor in model.main.proto.initializer}  # type: ignore[union-attr]
    for node in model.nodes():
        assert node.attribution is not None
        for value in node.inputs:
            if node.op_type in ("MatMul", "Gemm") and value in kinds:
                half = onnx.TensorProto.FLOAT if node.attribution.path == "head" else onnx.TensorProto.FLOAT16
                assert kinds[value] == half, node


def test_nodes_without_a_name_are_excluded_too(folder: Path) -> None:
    proto = onnx.load(source(folder))
    products = [node for node in proto.graph.node if node.op_type in ("MatMul", "Gemm")]
    for node in products[:2]:
        node.ClearField("name")
    products[2].name = products[3].name = "shared"
    onnx.save(proto, folder / "m.onnx")
    model = load_model(folder / "m.onnx")
    PassManager("htp,quantize-dynamic{exclude=op:MatMul,exclude=op:MatMul}".replace(",exclude=op:MatMul", "")).run(
        model
    )
    assert not any(node.op_type.startswith("MatMulInteger") for node in model.nodes())
    left = [
        node for node in onnx.ModelProto.FromString(to_bytes(model)).graph.node if node.op_type in ("MatMul", "Gemm")
    ]
    assert [node.name for node in left][:4] == ["", "", "shared", "shared"] and not left[0].HasField("name")
    PassManager("htp,quantize-dynamic{include=path:head}").run(again := load_model(folder / "m.onnx"))
    assert {n.attribution.path for n in again.nodes() if n.op_type == "MatMulInteger" and n.attribution} == {"head"}


def test_a_gemm_is_left_out_under_the_name_that_the_quantiser_gives_its_product(folder: Path) -> None:
    """It splits a Gemm before it looks at its lists; with the old name alone it would quantise it all the same."""
    path = source(folder, "convolved", "torchscript")
    file = load_model(path)
    PassManager("htp").run(file)
    [gemm] = [node for node in file.nodes() if node.op_type == "Gemm"]

    def quantised(options: str) -> set[str]:
        model = load_model(path)
        PassManager(f"htp,quantize-dynamic{options}").run(model)
        kinds = ("MatMulInteger", "ConvInteger")
        return {node.attribution.path for node in model.nodes() if node.op_type in kinds and node.attribution}

    everything = quantised("")
    assert "head" in everything and len(everything) == 3
    assert quantised("{exclude=path:head}") == everything - {"head"}
    assert quantised("{include=path:head}") == {"head"}
    listed = select(path, "path:head").to("ort")["nodes_to_exclude"]
    assert listed == [gemm.name, f"{gemm.name}_MatMul"] == select(path, "path:head").to("olive")["nodes_to_exclude"]
    assert select(path, "path:head").names == [gemm.name]
    onnxruntime.quantization.quantize_dynamic(str(path), str(folder / "q.onnx"), nodes_to_exclude=listed)
    kept = [node.name for node in onnx.load(folder / "q.onnx").graph.node if node.op_type == "MatMul"]
    assert kept == [f"{gemm.name}_MatMul"]


@pytest.mark.parametrize("option", ["exclude", "include"])
def test_a_selector_that_matches_nothing_is_an_error(option: str, folder: Path) -> None:
    model = load_model(source(folder))
    with pytest.raises(ConfigError, match=f"quantize-dynamic: {option}: no node matches 'path:nowhere'") as caught:
        PassManager(f"htp,quantize-dynamic{{{option}=path:nowhere}}").run(model)
    assert caught.value.exit_code == 2
    with pytest.raises(PipelineError, match="block: expected a term"):
        Pipeline.parse('float16{block="a and"}')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quantize-weights{block-size=0}", "block_size=0 is none of 16, 32, 64, 128, 256"),
        ("quantize-weights{accuracy-level=5}", "accuracy_level=5 is not 0 to 4"),
        ("convert-version{opset=1000}", "opset=1000 is above"),
    ],
)
def test_what_no_tool_takes_is_said_before_one_runs(text: str, said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        Pipeline.parse(text)


def test_a_kind_of_model_that_the_tool_would_ignore_is_an_error(folder: Path) -> None:
    model = load_model(source(folder))
    with pytest.raises(ConfigError, match=r"model-type .prt. is unknown to onnxruntime; it has: .*bert"):
        PassManager("htp,ort-transformers{model-type=prt}").run(model)


def test_a_class_that_nobody_recorded_is_an_error(folder: Path) -> None:
    model = load_model(source(folder, "stacked", "torchscript"))
    with pytest.raises(ConfigError, match=r"exclude: no class of a module is recorded .*'class:LayerNorm'"):
        PassManager('htp,quantize-dynamic{exclude="class:LayerNorm or path:head"}').run(model)


def test_what_the_file_carried_is_carried_again(folder: Path) -> None:
    path = source(folder)
    first = load_model(path)
    PassManager(
        "scope-attribution,context-inheritance,fallback-tagging,node-naming{keep-scoped=false},"
        "layer-annotation{depth=2},attribute-embedding{interop=winml carrier=both}"
    ).run(first)
    save_model(first, path)
    named = [node.name for node in first.nodes()]
    model = load_model(path)
    PassManager("onnxscript-optimize").run(model)
    written = load_model(to_bytes(model))
    for node in written.nodes():
        metadata = node.metadata
        assert metadata["htp.path"] and metadata["winml.hierarchy.tag"] and '"htp.path"' in node.doc_string
        if node.name in named and metadata["htp.path"]:
            assert metadata["layer_ann"] == ".".join(metadata["htp.path"].split(".")[:3])
            assert "htp.name" in metadata
    assert packed_tables(written.metadata) and old_names_keys(written.metadata)
    PassManager("node-naming{undo=true},strip-tags").run(written)
    original = {node.name for node in load_model(exported("stacked", "dynamo")).nodes()}
    assert {node.name for node in written.nodes()} <= original
    assert not any("layer_ann" in node.metadata for node in written.nodes())


def test_a_file_without_tags_stays_without(folder: Path) -> None:
    path = source(folder)
    model = load_model(path)
    report = PassManager("onnxslim").run(model)
    assert "kept" not in report.runs[-1].result.notes
    assert same(onnx.ModelProto.FromString(to_bytes(model)), slim(path, folder))


def test_a_node_that_a_tool_puts_into_an_empty_graph_is_tagged() -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    model = load_model(onnx.helper.make_model(onnx.helper.make_graph([], "g", [value], [value])).SerializeToString())
    PassManager("htp,onnxscript-optimize").run(model)
    assert [node.attribution.path for node in model.nodes() if node.attribution] == [""]


def test_facts_hold_afterwards(folder: Path) -> None:
    model = load_model(source(folder))
    PassManager("htp,onnxslim,ort-optimize{level=basic},context-inheritance,coverage-validation").run(model)


def test_external_data_is_handed_over(folder: Path) -> None:
    proto = onnx.load(source(folder))
    onnx.save(proto, folder / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    model = load_model(folder / "e.onnx")
    PassManager("htp,onnxslim,strip-tags").run(model)
    assert same(onnx.ModelProto.FromString(to_bytes(model)), slim(folder / "e.onnx", folder))
    (folder / "e.data").unlink()
    with pytest.raises(InputError, match=r"e\.data"):
        PassManager("htp,onnxslim").run(load_model(folder / "e.onnx"))


def test_a_failing_tool_is_one_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Unheard", ["x"], ["y"], name="/a/b")], "g", [x], [y])
    model = load_model(
        onnx.helper.make_model(
            graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 18)]
        ).SerializeToString()
    )
    with pytest.raises(ToolError, match=r"^the pass ort-optimize: onnxruntime: .*Unheard") as caught:
        PassManager("htp,ort-optimize", context=PassContext(scratch=folder)).run(model)
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value) and caught.value.done[0] == "scope-attribution"
    assert list(folder.iterdir()) == [] and capfd.readouterr().out == ""


def test_known_shape_trouble_gets_a_hint(folder: Path) -> None:
    def work() -> None:
        raise RuntimeError("[ShapeInferenceError] Inferred shape and existing shape differ in dimension 0: (2) vs (77)")

    with pytest.raises(ToolError, match=r"existing shape differ.*; try drop-value-info before it$"):
        call(work, "quantize-dynamic", "onnxruntime", (), folder)


@pytest.mark.parametrize(
    ("element", "module", "message"),
    [
        ("onnxslim", "onnxslim", r"onnxslim needs the package onnxslim: pip install 'modelexport\[slim\]'"),
        ("onnxsim", "onnxsim", r"onnxsim needs the package onnxsim: pip install 'modelexport\[sim\]'"),
        ("float16", "onnxruntime", r"float16 needs the package onnxruntime: pip install 'modelexport\[ort\]'"),
        ("onnxscript-optimize", "onnxscript", r"needs the package onnxscript: pip install 'modelexport\[onnxscript\]'"),
    ],
)
def test_a_missing_tool_is_named_before_any_work(
    element: str, module: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=message):
        PassManager(f"htp,{element}")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "the file has nothing; the model has x float32"),
        ({"y": np.zeros((2, 3, 16), np.float32)}, "the file has y float32.*; the model has x float32"),
        (
            {
                "x": np.zeros((2, 3, 16)),
            },
            "another element type",
        ),
        ({"x": np.zeros((2, 3, 17), np.float32)}, "another shape"),
        ({"x": np.zeros((16,), np.float32)}, "another shape"),
    ],
)
def test_samples_that_do_not_fit(arrays: dict[str, object], message: str, folder: Path) -> None:
    path = source(folder)
    np.savez(folder / "c.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        PassManager("htp,quantize-static{calibration=c.npz}").run(load_model(path))


def test_one_sample_and_the_samples_of_a_trace(folder: Path) -> None:
    import torch
    from tool_models import Stacked

    from modelexport.frontend.trace.value_trace import write_trace

    path = source(folder)
    np.savez(folder / "c.npz", x=np.ones((2, 3, 16), np.float32))
    PassManager("htp,quantize-static{calibration=c.npz}").run(load_model(path))
    write_trace(Stacked().eval(), torch.randn(2, 3, 16), folder / "m.htptrace", twins=())
    PassManager("htp,quantize-static{calibration=m.htptrace}").run(load_model(path))
    with pytest.raises(InputError, match="no such file"):
        PassManager("htp,quantize-static{calibration=missing.npz}")
