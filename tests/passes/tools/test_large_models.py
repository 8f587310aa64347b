"""Models above the size of one protobuf message: every tool gets a file, and nothing of it is left."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from alone import TOOLS
from tool_models import calibration, exported, same

from modelexport.cli.htp_opt import main
from modelexport.ir import load_model, save_model
from modelexport.ir.errors import InputError, ToolError
from modelexport.passes import PassManager
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.tools import base, handover


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model that has its weights beside it, where 4 kB are large."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(handover, "LARGE", 4000)
    calibration("stacked", tmp_path)
    proto = onnx.load_model_from_string(exported("stacked", "dynamo"))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "out").mkdir()
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_gets_a_file(tool: str, folder: Path) -> None:
    out = folder / "out"
    seen: list[bool] = []
    apply = handover.Handover.read_back

    def read_back(self: handover.Handover, result: onnx.ModelProto) -> object:
        seen.append(self.large)
        assert self.folder.parent == out
        return apply(self, result)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handover.Handover, "read_back", read_back)
        model = load_model(folder / "m.onnx")
        PassManager(f"htp,{tool},strip-tags", context=PassContext(scratch=out)).run(model)
    assert seen == [True]
    save_model(model, out / "q.onnx")
    had = model.data_home is not None
    assert all(node.attribution is not None for node in model.nodes())
    del model
    gc.collect()
    assert files(out) == (["q.onnx", "q.onnx.data"] if had else ["q.onnx"])
    assert same(inside(onnx.load(out / "q.onnx")), inside(TOOLS[tool](folder / "m.onnx", folder)))


def inside(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without what says where a tensor's data was."""
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.DEFAULT:
            tensor.ClearField("data_location")
    return proto


@pytest.mark.parametrize(("mode", "expected"), [("copy", 2), ("keep", 2), ("link", 2), ("embed", 1)])
def test_what_a_tool_wrote_obeys_external_data(mode: str, expected: int, folder: Path) -> None:
    passes = "htp,onnxslim,drop-value-info,convert-version{opset=21}"
    arguments = ["m.onnx", "-o", "out/q.onnx", "--passes", passes, "--external-data", mode, "-q", "--check"]
    assert main(arguments) == 0
    gc.collect()  # a process that ends takes the folder of its tools along
    assert len(files(folder / "out")) == expected
    onnx.checker.check_model(str(folder / "out" / "q.onnx"))


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_nothing_is_left_when_the_tool_fails(
    error: BaseException, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def apply(self: object, given: handover.Handover, names: object) -> onnx.ModelProto:
        assert Path(given.file()).is_file()
        raise error

    from modelexport.passes.tools.onnxslim import Onnxslim

    monkeypatch.setattr(Onnxslim, "apply", apply)
    with pytest.raises((ToolError, KeyboardInterrupt)):
        PassManager("htp,onnxslim", context=PassContext(scratch=folder / "out")).run(load_model("m.onnx"))
    assert files(folder / "out") == []


def test_missing_data_is_found_before_the_tool_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "call", lambda *_: pytest.fail("the tool was started"))
    (folder / "m.data").unlink()
    with pytest.raises(InputError, match=r"m\.data") as caught:
        PassManager("htp,onnxslim", context=PassContext(scratch=folder / "out")).run(load_model("m.onnx"))
    assert caught.value.exit_code == 2 and files(folder / "out") == []


def test_stdout_holds_no_large_result(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["m.onnx", "-o", "-", "--passes", "htp,onnxslim"]) == 2
    said = capfd.readouterr()
    assert said.out == "" and "stdout: with its weights the result is above 2 GB" in said.err
    assert not list(folder.glob(".modelexport*"))
