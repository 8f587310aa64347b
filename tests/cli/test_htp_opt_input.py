"""Bad input to htp-opt: one clear line, status 2, nothing left behind, an existing output untouched."""

from __future__ import annotations

import base64
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.helper as helper
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelexport.cli import htp_opt

FLOAT = onnx.TensorProto.FLOAT


def model(*nodes: onnx.NodeProto, **metadata: str) -> onnx.ModelProto:
    value, result = (helper.make_tensor_value_info(name, FLOAT, [2]) for name in "XY")
    proto = helper.make_model(
        helper.make_graph(list(nodes) or [helper.make_node("Relu", ["X"], ["Y"])], "g", [value], [result]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    for key, text in metadata.items():
        proto.metadata_props.add(key=key.replace("__", "."), value=text)
    return proto


GOOD = model(*(helper.make_node("Relu", ["X"], [f"v{i}"], name=f"/m{i}/Relu") for i in range(50))).SerializeToString()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recursive() -> bytes:
    proto = model(helper.make_node("f", ["X"], ["Y"], domain="own"))
    proto.opset_import.add(domain="own", version=1)
    body = [helper.make_node("f", ["x"], ["y"], domain="own")]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    proto.functions.append(helper.make_function("own", "f", ["x"], ["y"], body, opsets))
    return bytes(proto.SerializeToString())


def cyclic() -> bytes:
    nodes = helper.make_node("Add", ["X", "b"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["b"])
    return bytes(model(*nodes, helper.make_node("Neg", ["b"], ["Y"])).SerializeToString())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "input.onnx: the file is empty"),
        (b"\x00" * 64, "not an ONNX model"),
        (b"#!/bin/sh\necho hello\n", "not an ONNX model"),
        (random.Random(0).randbytes(4096), "not an ONNX model"),
        (GOOD[:-7], "not an ONNX model, or truncated"),
        (json.dumps({"a": 1}).encode(), "not an ONNX model"),
        (onnx.TensorProto(name="w").SerializeToString(), "not an ONNX model"),
        (cyclic(), "cyclic"),
        (recursive(), "recursive"),
    ],
    ids=["empty", "zeros", "script", "random", "truncated", "json", "tensor", "cyclic", "recursive"],
)
@pytest.mark.parametrize("existing", [False, True])
def test_what_is_no_usable_model_is_one_line(
    folder: Path, content: bytes, message: str, existing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("input.onnx").write_bytes(content)
    if existing:
        Path("out.onnx").write_text("kept")
    assert htp_opt.main(["input.onnx", "-o", "out.onnx", "--sidecar"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: input.onnx: ") and message in printed.err
    assert printed.err.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == {"input.onnx"} | ({"out.onnx"} if existing else set())
    assert not existing or Path("out.onnx").read_text() == "kept"


@pytest.mark.posix
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    ],
    ids=["missing", "folder", "dangling", "loop"],
)
def test_what_can_not_be_opened_is_one_line(
    make: Callable[[Path], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(Path("input.onnx"))
    assert htp_opt.main(["input.onnx", "-o", "out.onnx"]) == 2
    assert capsys.readouterr().err == f"error: input.onnx: {message}\n"
    assert not Path("out.onnx").exists()


def test_a_name_with_line_breaks_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main(["two\nlines\x1b[31m.onnx"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "\x1b" not in error


@given(cut=st.integers(0, len(GOOD) - 1), flip=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(1, 255))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80)
def test_a_damaged_model_is_read_or_refused(
    cut: int, flip: list[tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = bytearray(GOOD)
    for position, bits in flip:
        damaged[position] ^= bits
    Path("input.onnx").write_bytes(bytes(damaged[: len(damaged) if flip else cut]))
    Path("out.onnx").unlink(missing_ok=True)
    status = htp_opt.main(["input.onnx", "-o", "out.onnx"])
    error = capsys.readouterr().err
    assert status in (0, 2), error
    assert Path("out.onnx").exists() == (status == 0)
    assert sum(line.startswith("error:") for line in error.splitlines()) == (status == 2)
    assert "internal error" not in error


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    "table",
    [
        "not base64!",
        base64.b64encode(b"not zlib").decode(),
        packed(b"not json"),
        packed(b"[" * 100_000),
        packed(b'{"v": 99, "modules": []}'),
        packed(b'{"v": 1, "modules": [["../../x", 5, null, -1]]}'),
        packed(b" " * (64 << 20)),
        "__import__('os').system('touch owned')",
    ],
    ids=["base64", "zlib", "json", "deep", "version", "rows", "bomb", "code"],
)
def test_hostile_tables_are_ignored_with_a_warning(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("input.onnx").write_bytes(model(htp__modules=table, htp__nodes=table).SerializeToString())
    assert htp_opt.main(["input.onnx", "-o", "out.onnx"]) == 0
    error = capsys.readouterr().err
    assert error.count("warning:") == 1 and "table" in error
    assert not Path("owned").exists()
    node = onnx.load("out.onnx").graph.node[0]
    assert {p.key: p.value for p in node.metadata_props}["htp.source"] == "fallback"


@pytest.mark.parametrize(
    "entries",
    [
        {"htp.path": "a.b\n\x1b[31m", "htp.source": "scope", "htp.confidence": "1"},
        {"htp.path": "a", "htp.source": "scope", "htp.rule": "x", "htp.confidence": "inf"},
        {"htp.path": "a", "htp.source": "oracle", "htp.rule": "x", "htp.confidence": "1"},
        {"pkg.torch.onnx.name_scopes": "__import__('os').system('touch owned')"},
        {"pkg.torch.onnx.name_scopes": "[" * 50_000, "pkg.torch.onnx.class_hierarchy": "[" * 50_000},
        {"pkg.torch.onnx.name_scopes": "['', 5, None]", "pkg.torch.onnx.class_hierarchy": "{}"},
    ],
    ids=["control", "confidence", "source", "code", "deep", "types"],
)
def test_hostile_node_metadata_is_ignored(entries: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    node = helper.make_node("Relu", ["X"], ["Y"])
    for key, text in entries.items():
        node.metadata_props.add(key=key, value=text)
    Path("input.onnx").write_bytes(model(node).SerializeToString())
    assert htp_opt.main(["input.onnx", "-o", "out.onnx"]) == 0
    error = capsys.readouterr().err
    assert "\x1b" not in error and "internal error" not in error
    assert not Path("owned").exists()
    written = {p.key: p.value for p in onnx.load("out.onnx").graph.node[0].metadata_props}
    assert written["htp.path"] == ""


def test_a_reference_that_is_no_reference_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("input.onnx").write_bytes(GOOD)
    noise = random.Random(0).randbytes(100)
    for content in (b"", b"{}", b'{"format": "modelexport-hierarchy"}', noise, b"[" * 100_000):
        Path("reference.json").write_bytes(content)
        assert htp_opt.main(["input.onnx", "-o", "out.onnx", "--reference", "reference.json"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and "reference.json" in error and error.count("\n") == 1
        assert not Path("out.onnx").exists()
