"""Writing: patches in the source proto, and files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import loss_cases
import onnx
import pytest
from corpus import serialized
from hypothesis import given, settings
from hypothesis import strategies as st

from modelexport.ir import load_model, save_model
from modelexport.ir.errors import OutputError
from modelexport.ir.io import atomic
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.proto import pieces

NAMES = st.sampled_from(["a", "b", "htp.tag", "bad\udcff", ""])
ENTRIES = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.text(max_size=3))), max_size=4)
PATCH = st.dictionaries(NAMES, st.one_of(st.none(), st.sampled_from(["1", "2", "\udcfe"])), max_size=3)


def node_with(entries: list[tuple[str, str | None]]) -> onnx.ModelProto:
    model = loss_cases.chain()
    node = model.graph.node[0]
    del node.metadata_props[:]
    for key, value in entries:
        entry = node.metadata_props.add()
        entry.MergeFromString(
            b"\x0a" + bytes([len(key.encode("utf-8", "surrogateescape"))]) + key.encode("utf-8", "surrogateescape")
        )
        if value is not None:
            entry.value = value
    return model


@given(ENTRIES, st.lists(PATCH, max_size=3))
@settings(max_examples=200, deadline=None)
def test_metadata_reads_back_as_it_was_patched(entries: list[tuple[str, str | None]], patches: list[dict]) -> None:
    model = from_proto(node_with(entries))
    node = model.main.nodes[0]
    expected = dict(node.metadata)
    for patch in patches:
        node.patch_metadata(patch)
        expected = {key: value for key, value in {**expected, **patch}.items() if value is not None}
        assert dict(node.metadata) == expected
    data = to_bytes(model)
    assert to_bytes(model) == data
    assert dict(load_model(data).main.nodes[0].metadata) == expected


@given(ENTRIES, PATCH)
@settings(max_examples=200, deadline=None)
def test_adding_and_removing_gives_the_original_bytes(entries: list[tuple[str, str | None]], patch: dict) -> None:
    proto = node_with(entries)
    before = serialized(proto)
    model = from_proto(proto)
    node = model.main.nodes[0]
    added = {f"new {key}": value for key, value in patch.items() if value is not None}
    node.patch_metadata(added)
    model.patch_metadata(added)
    assert (to_bytes(model) == before) == (not added)
    node.patch_metadata(dict.fromkeys(added))
    model.patch_metadata(dict.fromkeys(added))
    assert to_bytes(model) == before


def test_entries_of_other_keys_keep_order_duplicates_and_presence() -> None:
    model = from_proto(node_with([("a", "1"), ("b", None), ("a", "2"), ("c", ""), ("a", "3")]))
    model.main.nodes[0].patch_metadata({"a": "new"})
    entries = onnx.ModelProto.FromString(to_bytes(model)).graph.node[0].metadata_props
    assert [(entry.key, entry.HasField("value"), entry.value) for entry in entries] == [
        ("a", True, "new"),
        ("b", False, ""),
        ("c", True, ""),
    ]


@pytest.mark.parametrize("source", [None, "", "what it was"])
def test_doc_string_can_be_set_and_taken_back(source: str | None) -> None:
    proto = loss_cases.chain()
    if source is not None:
        proto.graph.node[0].doc_string = source
    before = serialized(proto)
    model = from_proto(proto)
    node = model.main.nodes[0]
    had = node.has_doc_string
    node.patch_doc(node.doc_string + " and more\udcff")
    found = onnx.ModelProto.FromString(to_bytes(model)).graph.node[0]
    assert found.doc_string == ((source or "") + " and more").encode() + b"\xff"
    node.patch_doc((source or "") if had else None)
    assert node.has_doc_string == had
    assert to_bytes(model) == before


def test_patches_reach_new_nodes_bodies_and_functions() -> None:
    model = from_proto(loss_cases.build("nested_bodies"))
    model.main.insert("Exp", ["h"], ["new"])
    for node in model.nodes():
        node.patch_metadata({"k": "v"})
        node.patch_doc("d")
    again = load_model(to_bytes(model))
    assert [node.metadata["k"] + node.doc_string for node in again.nodes()] == ["vd"] * len(list(model.nodes()))


def test_one_patch_shared_by_many_nodes_is_not_changed() -> None:
    model = from_proto(loss_cases.chain())
    shared = {"k": "v"}
    for node in model.nodes():
        node.patch_metadata(shared)
    model.main.nodes[0].patch_metadata({"own": "1"})
    assert shared == {"k": "v"}
    assert "own" not in model.main.nodes[1].metadata


def test_saved_file_is_complete_and_leaves_nothing_beside(tmp_path: Path) -> None:
    model = from_proto(loss_cases.chain())
    save_model(model, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == to_bytes(model)
    assert os.listdir(tmp_path) == ["m.onnx"]


@pytest.mark.posix
def test_permissions_follow_the_umask_and_then_the_existing_file(tmp_path: Path) -> None:
    model, path = from_proto(loss_cases.chain()), tmp_path / "m.onnx"
    before = os.umask(0o027)
    try:
        save_model(model, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    save_model(model, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "m.onnx").write_bytes(b"old")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real" / "m.onnx")
    (tmp_path / "dangling.onnx").symlink_to(tmp_path / "real" / "new.onnx")
    model = from_proto(loss_cases.chain())
    for name in ("link.onnx", "dangling.onnx"):
        save_model(model, tmp_path / name)
        assert (tmp_path / name).is_symlink()
    assert sorted(os.listdir(tmp_path / "real")) == ["m.onnx", "new.onnx"]
    assert (tmp_path / "real" / "m.onnx").read_bytes() == to_bytes(model)


def test_stale_temporary_file_disturbs_nobody(tmp_path: Path) -> None:
    stale = tmp_path / ".m.onnx.1-dead.tmp"
    stale.write_bytes(b"half")
    save_model(from_proto(loss_cases.chain()), tmp_path / "m.onnx")
    assert sorted(os.listdir(tmp_path)) == [stale.name, "m.onnx"]


@pytest.mark.posix
def test_long_and_odd_names(tmp_path: Path) -> None:
    for name in ("n" * 250 + ".onnx", "\u00e9" * 120 + ".onnx", "-o.onnx", "a b\n.onnx"):
        save_model(from_proto(loss_cases.chain()), tmp_path / name)
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no/such/m.onnx", "the folder .*no/such does not exist"),
        (".", "is a folder"),
        ("file/m.onnx", "does not exist"),
    ],
)
def test_clear_errors(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=message) as raised:
        save_model(from_proto(loss_cases.chain()), tmp_path / path)
    assert "\n" not in str(raised.value)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.posix
def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        happened.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        happened.append("name")
        replace(source, target)

    monkeypatch.setattr(atomic.os, "fsync", synced)
    monkeypatch.setattr(atomic.os, "replace", replaced)
    save_model(from_proto(loss_cases.chain()), tmp_path / "m.onnx")
    assert happened == ["file", "name", "folder"]


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "chmod"])
def test_failure_leaves_the_existing_output_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(OutputError, match=r"m\.onnx: No space left"):
        save_model(from_proto(loss_cases.chain()), path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["m.onnx"]
    assert path.read_bytes() == b"old"


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic.atomic_output(tmp_path / "m.onnx") as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


@pytest.mark.posix
def test_killed_run_leaves_one_temporary_file_and_the_old_output(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    code = (
        "import os, signal, sys; from pathlib import Path; from modelexport.ir.io.atomic import atomic_output\n"
        "with atomic_output(Path(sys.argv[1])) as stream: stream.write(b'x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    left = sorted(os.listdir(tmp_path))
    assert len(left) == 2
    assert left[0].startswith(".m.onnx.")
    assert left[0].endswith(".tmp")
    assert path.read_bytes() == b"old"
    save_model(from_proto(loss_cases.chain()), path)
    assert load_model(path).main.nodes


@pytest.mark.posix
def test_pipe_is_written_directly(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen([sys.executable, "-c", f"print(len(open({str(pipe)!r}, 'rb').read()))"], stdout=-1)
    model = from_proto(loss_cases.chain())
    save_model(model, pipe)
    out, _ = reader.communicate(timeout=60)
    assert int(out) == len(to_bytes(model))
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.linux
def test_device_is_written_directly_and_its_errors_are_told() -> None:
    model = from_proto(loss_cases.chain())
    save_model(model, "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(OutputError, match="/dev/full: No space left"):
        save_model(model, "/dev/full")


@pytest.mark.parametrize("edited", [False, True])
def test_larger_than_a_protobuf_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: bool) -> None:
    model = from_proto(loss_cases.chain())
    if edited:
        model.main.insert("Exp", ["h"], ["new"])
    monkeypatch.setattr(pieces, "_LIMIT", len(to_bytes(model)) - 1)
    with pytest.raises(OutputError, match=r"m\.onnx: the model is larger than 2 GB"):
        save_model(model, tmp_path / "m.onnx")
    with pytest.raises(OutputError, match="<bytes>: the model is larger than 2 GB"):
        to_bytes(model)
    monkeypatch.setattr(pieces, "_LIMIT", pieces._LIMIT + 1)
    save_model(model, tmp_path / "m.onnx")
    (tmp_path / "m.onnx").unlink()
    assert os.listdir(tmp_path) == []
