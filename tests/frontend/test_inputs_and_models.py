"""Example inputs in all their forms, and models by name."""

from __future__ import annotations

import json
from collections import UserDict
from pathlib import Path
from typing import Any

import architectures
import onnx
import pytest
import torch
from torch import Tensor, nn

from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.frontend.inputs.demo import run_demo
from modelexport.frontend.inputs.example_inputs import from_specs, infer, normalise
from modelexport.frontend.inputs.models import load_source
from modelexport.frontend.trace.module_trace import trace_model
from modelexport.ir.errors import ConfigError, ExportError, InputError


class Keywords(nn.Module):
    """Optional arguments stand between those that are given, which torch's own flattening gets wrong."""

    def forward(
        self, first: Tensor, unused: Tensor | None = None, flag: bool = False, *, second: Tensor, pair: Any = None
    ) -> Tensor:
        total = first * 2.0 - second
        if pair is not None:
            total = total + pair[0] * pair[1]
        return total if flag else -total


ONE, TWO = torch.ones(2, 3), torch.full((2, 3), 2.0)


@pytest.mark.parametrize(
    "example",
    [
        {"second": TWO, "first": ONE},
        UserDict({"first": ONE, "second": TWO, "flag": True}),
        (ONE, {"second": TWO}),
        [ONE, {"second": TWO, "unused": None}],
        {"first": ONE, "second": TWO, "pair": (ONE, TWO)},
    ],
    ids=["dict", "mapping", "tuple", "list", "nested"],
)
def test_keyword_arguments_reach_torchscript(example: Any, tmp_path: Path) -> None:
    import onnxruntime

    model = Keywords()
    HierarchyExporter(exporter="torchscript").export(model, example, tmp_path / "m.onnx", opset_version=17)
    assert "forward" not in vars(model)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    call = normalise(example)
    feeds = [value.numpy() for value in (*call.args, *call.kwargs.values()) if isinstance(value, Tensor)]
    feeds += [value.numpy() for value in call.kwargs.get("pair") or ()]
    names = [entry.name for entry in session.get_inputs()]
    (out,) = session.run(None, dict(zip(names, feeds, strict=True)))
    torch.testing.assert_close(torch.tensor(out), model(*call.args, **call.kwargs))
    if not call.args:
        assert names == call.names()


def test_names_of_nested_keywords() -> None:
    assert normalise({"a": ONE, "b": (ONE, [TWO]), "c": 3}).names() == ["a", "b.0", "b.1"]
    assert normalise((ONE, {"a": TWO})).names() == []


@pytest.mark.parametrize("example", [None, 3, "x", {1: ONE}])
def test_what_is_no_input(example: Any) -> None:
    with pytest.raises(InputError):
        normalise(example)


def test_specifications() -> None:
    found = from_specs(
        {
            "ids": {"dtype": "int", "range": [5, 7]},
            "mask": {"dtype": "bool", "shape": [2, 3]},
            "x": {"dtype": "float16", "shape": ["batch", 4], "range": [1, 2]},
        }
    )
    assert found.kwargs["ids"].shape == (1, 16) and set(found.kwargs["ids"].unique().tolist()) <= {5, 6}
    assert found.kwargs["mask"].dtype is torch.bool
    assert found.kwargs["x"].dtype is torch.float16 and found.kwargs["x"].shape == (2, 4)
    assert found.dynamic_axes == {"x": {0: "batch"}}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"dtype": "float"}, "needs a shape"),
        ({"dtype": "complex9", "shape": [1]}, "unknown dtype"),
        ({"dtype": "int", "rnage": [0, 1]}, "unknown key"),
        ({"dtype": "int", "range": [3, 3]}, "low < high"),
        ({"dtype": "int8", "range": [0, 300]}, "does not fit"),
        ({"dtype": "int", "shape": [-1]}, "neither a size nor a name"),
        ({"dtype": "int", "shape": 3}, "not a list"),
    ],
)
def test_specifications_that_cannot_be(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_specs({"first": spec})


def test_a_specification_of_another_parameter() -> None:
    with pytest.raises(ConfigError, match="did you mean 'first'"):
        from_specs({"frist": {"dtype": "int"}}, Keywords())


def test_inputs_a_model_suggests() -> None:
    model = Keywords()
    assert infer(model) is None
    model.dummy_inputs = {"first": ONE, "other": TWO, "second": TWO}  # type: ignore[assignment]
    found = infer(model)
    assert found is not None and list(found.kwargs) == ["first", "second"]


PLAIN = "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return x + 1\n"


@pytest.mark.parametrize(
    ("text", "spec", "has_inputs"),
    [
        (PLAIN, "", False),
        (PLAIN + "example_inputs = torch.ones(2)\n", "", True),
        (PLAIN + "def get_inputs():\n    return {'x': torch.ones(2)}\nmodel = Net()\n", "", True),
        (PLAIN + "def make():\n    return Net(), torch.ones(2)\n", ":make", True),
        (PLAIN + "class Other(Net):\n    pass\n", ":Other", False),
        ("from pathlib import Path\nimport sibling\nmodel = sibling.Net()\n", "", False),
    ],
)
def test_python_files(text: str, spec: str, has_inputs: bool, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(text)
    (tmp_path / "sibling.py").write_text(PLAIN)
    source = load_source(f"{tmp_path / 'net.py'}{spec}")
    assert isinstance(source.model, nn.Module) and not source.model.training
    assert (source.inputs is not None) == has_inputs


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        (PLAIN + "class Other(Net):\n    pass\n", "", "Net, Other.*get_model"),
        ("x = 1\n", "", "no model found.*get_model.*get_example_inputs"),
        (PLAIN, ":missing", "no 'missing'"),
        ("def get_model():\n    return 3\n", "", "gives int"),
        ("def get_model():\n    raise ValueError('no weights')\n", "", "no weights"),
        ("raise RuntimeError('broken file')\n", "", "broken file"),
    ],
)
def test_python_files_that_do_not_help(text: str, spec: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(text)
    with pytest.raises(InputError, match=message):
        load_source(f"{tmp_path / 'net.py'}{spec}")


@pytest.mark.parametrize("spec", ["no/such/file.py", "no.such.module:make", "demo:nothing", "demo"])
def test_names_of_nothing(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=spec.split(":")[0].split("/")[-1]):
        load_source(spec)


def test_an_importable_callable() -> None:
    source = load_source("modelexport.frontend.inputs.demo:transformer")
    assert type(source.model).__name__ == "DemoTransformer"
    assert source.inputs is not None and source.inputs.names() == ["input_ids"]


def test_a_checkpoint_folder(tmp_path: Path) -> None:
    import transformers

    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    source = load_source(str(tmp_path))
    assert type(source.model).__name__ == "BertModel" and source.inputs is not None
    weights = tmp_path / "model.safetensors"
    weights.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickles"):
        load_source(str(tmp_path))


def test_the_demo(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "new")
    assert result["tagged_operations"] == result["total_operations"] > 100
    tags = json.loads((tmp_path / "new" / "demo_hierarchy.json").read_text())["tag_statistics"]
    assert "/DemoTransformer/Block.1/Attention/Linear.query" in tags
    onnx.checker.check_model(str(tmp_path / "new" / "demo.onnx"))


def test_a_trace() -> None:
    model, example = architectures.get("looped_recursive")
    seen: list[tuple[str, int, int]] = []
    trace = trace_model(
        model, (example,), on_event=lambda event, reads, makes: seen.append((event.path, len(reads), len(makes)))
    )
    assert [module.path for module in trace.modules] == [name for name, _ in model.named_modules()]
    calls = {module.path: module.calls for module in trace.modules}
    assert calls == {"": 1, "cell": 3, "holder": 0, "holder.inner": 3, "holder.inner.fc": 2, "direct": 0}
    assert trace.operation_trace_length == len(seen) == 15
    assert seen[-1] == ("", 3, 1)  # direct.forward(x): the caller's
    assert trace.native_op_regions == 12


def test_a_trace_of_a_model_that_holds_itself() -> None:
    """Aliases of aliases without end: each module still has its first name and a finite number of others."""
    model = nn.Sequential(nn.Linear(2, 2))
    model.add_module("again", model[0])
    model[0].add_module("back", model)
    trace = trace_model(model[0], (torch.ones(1, 2),))
    assert [(module.path, module.aliases) for module in trace.modules] == [("", ()), ("back", ())]


def test_a_forward_that_fails() -> None:
    with pytest.raises(ExportError, match="missing 1 required") as caught:
        trace_model(Keywords(), (ONE,))
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_dict_that_is_one_argument(exporter: Any, tmp_path: Path) -> None:
    class TakesDict(torch.nn.Module):
        def forward(self, pair: dict[str, torch.Tensor]) -> torch.Tensor:
            return pair["u"] - pair["v"]

    example = ({"u": torch.ones(2), "v": torch.zeros(2)},)
    result = HierarchyExporter(exporter=exporter).export(TakesDict(), example, tmp_path / "m.onnx")
    assert result["tagged_operations"] == result["total_operations"] == 1
