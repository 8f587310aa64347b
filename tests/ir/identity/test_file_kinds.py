"""Files that are something else than a model: each is named, with what to do."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import onnx
import onnx.helper as helper
import pytest

from modelexport.ir.errors import InputError
from modelexport.ir.identity.file_kinds import kind_of
from modelexport.ir.io.reader import load_model
from modelexport.ir.io.sidecar import read_sidecar
from modelexport.ir.io.trace_file import load_trace
from modelexport.ir.io.weights import Weights

FLOAT = onnx.TensorProto.FLOAT
X, Y = (helper.make_tensor_value_info(name, FLOAT, [2]) for name in "xy")
MODEL = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [X], [Y]))
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123456\n"


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name in names:
            zipped.writestr(name, b"0")
    return buffer.getvalue()


def in_form(form: str) -> bytes:
    buffer = io.BytesIO()
    onnx.save(MODEL, buffer, format=form)
    return buffer.getvalue()


CONTENTS = {
    "pointer": (POINTER, "a Git LFS pointer", "git lfs pull"),
    "page": (b"\n<!DOCTYPE html>\n<html><head>", "an HTML page", "download"),
    "old page": (b"<HTML><BODY>", "an HTML page", "download"),
    "error page": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML page", "download"),
    "openvino": (b'<?xml version="1.0"?>\n<net name="m" version="11">', "an OpenVINO model", "ONNX model"),
    "ort": (b"\x18\0\0\0ORTM" + bytes(90), "an ONNX Runtime model", "was made from"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(90), "a TensorFlow Lite model", "tf2onnx"),
    "onnx text": (onnx.printer.to_text(MODEL).encode(), "ONNX text", "format='onnxtxt'"),
    "textproto": (in_form("textproto"), "protobuf's text format", "format='textproto'"),
    "json model": (in_form("json"), "a model in JSON", "format='json'"),
    "json": (b'{"a": [1, 2]}', "JSON", "give a model"),
    "sidecar": (b'{"format": "modelexport-hierarchy"}', "a sidecar", "--reference"),
    "config": (b'{"model_type": "x", "architectures": []}', "a checkpoint's configuration", "modelexport export"),
    "torchscript": (archive("m/data.pkl", "m/code/m.py", "m/constants.pkl"), "a TorchScript archive", "torch.jit.load"),
    "weights": (archive("m/data.pkl", "m/data/0"), "a file of torch.save", "Python"),
    "program": (archive("m/archive_format", "m/models/model.json"), "an ExportedProgram", "torch.export.load"),
    "zip": (archive("readme.txt", "deep/model.onnx"), "a zip archive", "give deep/model.onnx"),
    "other zip": (archive("readme.txt"), "a zip archive", "unpack it"),
    "arrays": (archive("a.npy", "b.npy"), "an archive of NumPy arrays", "give a model"),
    "half a zip": (archive("m/data.pkl")[:40], "a damaged zip archive", "again"),
    "pickle": (pickle.dumps({"weight": 1}), "a pickle", "Python"),
    "safetensors": ((40).to_bytes(8, "little") + b'{"__metadata__":{}}' + bytes(40), "a safetensors file", "no graph"),
    "gzip": (gzip.compress(MODEL.SerializeToString()), "compressed with gzip", "unpack it"),
    "gguf": (b"GGUF" + bytes(60), "a GGUF file", "no graph"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file", "tf2onnx"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_each_is_named_with_the_next_step(name: str, tmp_path: Path) -> None:
    content, what, step = CONTENTS[name]
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert kind_of(content) == kind_of(path)
    for source in (path, content):
        with pytest.raises(InputError) as caught:
            load_model(source)
        assert "not an ONNX model: it is " in str(caught.value)
        assert what in str(caught.value) and step in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"hello there", b"\0" * 64, MODEL.SerializeToString()[:-3], b"{", b"[" * 9999])
def test_nothing_is_said_of_what_is_not_known(content: bytes) -> None:
    with pytest.raises(InputError, match="not an ONNX model, or truncated"):
        load_model(content)


def test_other_readers_name_them_too(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(MODEL.SerializeToString())
    (tmp_path / "pointer").write_bytes(POINTER)
    (tmp_path / "program").write_bytes(CONTENTS["program"][0])
    with pytest.raises(InputError, match="not a sidecar: it is an ONNX model"):
        read_sidecar(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="not a trace file: it is an ExportedProgram"):
        load_trace(tmp_path / "program")
    for reader in (read_sidecar, load_trace):
        with pytest.raises(InputError, match="it is a Git LFS pointer; run git lfs pull"):
            reader(tmp_path / "pointer")
    assert json.dumps(kind_of(tmp_path / "missing")) == '["", ""]'


def test_a_data_file_that_is_a_pointer(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="w", data_type=FLOAT, dims=[300], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="m.data")
    graph = helper.make_graph([helper.make_node("Relu", ["w"], ["y"])], "g", [], [Y], [tensor])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    (tmp_path / "m.data").write_bytes(POINTER)
    model = load_model(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="a Git LFS pointer: run git lfs pull"):
        Weights(model).read(model.main, "w")
