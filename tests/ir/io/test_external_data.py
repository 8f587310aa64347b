"""Weights in files of their own: where they go, what is refused, and that annotating never reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import loss_cases
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelexport.ir import load_model, save_model
from modelexport.ir.errors import InputError, OutputError
from modelexport.ir.io.external import copying, external_data
from modelexport.ir.io.external.external_data import external_tensors
from modelexport.ir.io.weights import read_tensor

VALUES = np.arange(6, dtype=np.float32)


def refer(tensor: TensorProto, location: str, offset: int | None = None, length: int | None = None) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": offset, "length": length}
    for key, value in entries.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def external(name: str, location: str, offset: int | None = None, length: int | None = 24) -> TensorProto:
    return refer(TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[6]), location, offset, length)


def write(folder: Path, *locations: str, data: bytes = VALUES.tobytes(), create: bool = True) -> Path:
    """A model with one external tensor per location, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    proto = loss_cases.chain()
    for index, location in enumerate(locations):
        proto.graph.initializer.append(external(f"w{index}", location))
        if create:
            target = folder / location
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def value(path: Path, name: str = "w0") -> np.ndarray:
    model = load_model(path)
    return np.array(read_tensor(model, model.main, name))


def test_copy_brings_data_and_leaves_the_location(tmp_path: Path, out: Path) -> None:
    model = load_model(write(tmp_path / "in", "w.bin", "deep/er/v.bin"))
    save_model(model, out / "m.onnx")
    assert tree(out) == ["deep/er/v.bin", "m.onnx", "w.bin"]
    np.testing.assert_array_equal(value(out / "m.onnx", "w1"), VALUES)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(onnx.load(out / "m.onnx").graph.initializer[0]), VALUES)
    assert os.stat(out / "w.bin").st_nlink == 1
    assert model.warnings == []
    save_model(model, out / "m.onnx")  # the same content at the target is fine


def test_same_folder_leaves_the_data(tmp_path: Path) -> None:
    path = write(tmp_path, "w.bin")
    before = os.stat(tmp_path / "w.bin")
    save_model(load_model(path), tmp_path / "other.onnx")
    save_model(load_model(path), path)
    after = os.stat(tmp_path / "w.bin")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_keep_leaves_references(tmp_path: Path, out: Path) -> None:
    model = load_model(write(tmp_path / "in", "w.bin"))
    save_model(model, out / "m.onnx", external_data="keep")
    assert tree(out) == ["m.onnx"]
    assert (out / "m.onnx").read_bytes() == model.proto.SerializeToString(deterministic=True)


def test_link_links_and_warns(tmp_path: Path, out: Path) -> None:
    model = load_model(write(tmp_path / "in", "w.bin"))
    save_model(model, out / "m.onnx", external_data="link")
    assert os.path.samefile(out / "w.bin", tmp_path / "in" / "w.bin")
    assert "hard-linked" in model.warnings[0]
    save_model(model, out / "m.onnx", external_data="link")
    assert len(model.warnings) == 1


def test_embed_takes_everything_in(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "m.onnx"
    proto = loss_cases.chain()
    proto.graph.initializer.append(external("w0", "w.bin", offset=24))
    nibbles = TensorProto(name="n", data_type=TensorProto.INT4, dims=[3])
    proto.graph.initializer.append(refer(nibbles, "w.bin", 0, 2))
    (tmp_path / "w.bin").write_bytes(b"\x21\x03" + bytes(22) + VALUES.tobytes())
    path.write_bytes(proto.SerializeToString())
    model = load_model(path)
    save_model(model, out / "m.onnx", external_data="embed")
    assert tree(out) == ["m.onnx"]
    found = onnx.load(out / "m.onnx").graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(found[0]), VALUES)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(found[1]).astype("i4"), [1, 2, 3])
    assert not found[0].external_data
    assert found[0].data_location == TensorProto.DEFAULT
    assert model.proto.graph.initializer[0].data_location == TensorProto.EXTERNAL  # the source is not touched


def test_embed_over_two_gigabytes_is_refused_before_reading(tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "in", "w.bin", create=False)
    proto = onnx.ModelProto.FromString(path.read_bytes())
    refer(proto.graph.initializer[0], "w.bin", None, None).ClearField("external_data")
    proto.graph.initializer[0].dims[0] = 3 << 28
    refer(proto.graph.initializer[0], "w.bin")
    path.write_bytes(proto.SerializeToString())
    with open(tmp_path / "in" / "w.bin", "wb") as stream:
        stream.truncate(3 << 30)
    with pytest.raises(OutputError, match="larger than 2 GB"):
        save_model(load_model(path), out / "m.onnx", external_data="embed")
    assert tree(out) == []


def places(tensor: TensorProto) -> dict[str, Callable[[onnx.ModelProto], None]]:
    """Every place of a model that a tensor can be in."""
    attribute = onnx.AttributeProto(name="t", type=onnx.AttributeProto.TENSOR, t=tensor)
    several = onnx.AttributeProto(name="ts", type=onnx.AttributeProto.TENSORS, tensors=[tensor])
    sparse = onnx.SparseTensorProto(values=tensor, indices=tensor, dims=[9])
    graph = onnx.GraphProto(initializer=[tensor])
    return {
        "initializer": lambda m: m.graph.initializer.append(tensor),
        "sparse": lambda m: m.graph.sparse_initializer.append(sparse),
        "attribute": lambda m: m.graph.node[0].attribute.append(attribute),
        "attribute list": lambda m: m.graph.node[0].attribute.append(several),
        "attribute sparse": lambda m: m.graph.node[0].attribute.append(helper.make_attribute("s", sparse)),
        "body": lambda m: m.graph.node[0].attribute.append(helper.make_attribute("g", graph)),
        "body attribute": lambda m: m.graph.node[0].attribute.append(
            helper.make_attribute("g", onnx.GraphProto(node=[onnx.NodeProto(op_type="Op", attribute=[attribute])]))
        ),
        "function": lambda m: loss_cases.with_function(m, attribute) and None,
        "function default": lambda m: loss_cases.with_function(m).attribute_proto.append(attribute),
        "training": lambda m: m.training_info.add().algorithm.CopyFrom(graph),
    }


@pytest.mark.parametrize("place", places(TensorProto()))
@pytest.mark.parametrize("mode", ["copy", "embed"])
def test_tensors_are_found_everywhere(tmp_path: Path, out: Path, place: str, mode: external_data.DataMode) -> None:
    proto = loss_cases.chain()
    places(external("w", "w.bin"))[place](proto)
    (tmp_path / "w.bin").write_bytes(VALUES.tobytes())
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    save_model(load_model(tmp_path / "m.onnx"), out / "m.onnx", external_data=mode)
    written = onnx.ModelProto.FromString((out / "m.onnx").read_bytes())
    assert (out / "w.bin").exists() == (mode == "copy")
    assert bool(list(external_tensors(written))) == (mode == "copy")
    assert len((out / "m.onnx").read_bytes()) > 24


def test_missing_data_is_a_warning_when_annotating_and_an_error_to_embed(tmp_path: Path, out: Path) -> None:
    model = load_model(write(tmp_path / "in", "w.bin", "v.bin", create=False))
    (tmp_path / "in" / "v.bin").write_bytes(b"data")
    save_model(model, out / "m.onnx")
    assert tree(out) == ["m.onnx", "v.bin"]
    (told,) = (line for line in model.warnings if "missing" in line)
    assert "w.bin" in told
    with pytest.raises(InputError, match=r"w\.bin: No such file"):
        save_model(model, out / "e.onnx", external_data="embed")
    assert not (out / "e.onnx").exists()


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_different_file_at_the_target_is_never_overwritten(
    tmp_path: Path, out: Path, mode: external_data.DataMode
) -> None:
    model = load_model(write(tmp_path / "in", "a.bin", "w.bin"))
    (out / "w.bin").write_bytes(b"somebody's")
    with pytest.raises(OutputError, match=r"w\.bin: another file"):
        save_model(model, out / "m.onnx", external_data=mode)
    assert tree(out) == ["w.bin"]
    assert (out / "w.bin").read_bytes() == b"somebody's"


def test_output_with_the_name_of_the_data_is_refused(tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "in", "w.bin")
    for target in (tmp_path / "in" / "w.bin", out / "w.bin"):
        for mode in ("copy", "keep", "embed", "link"):
            with pytest.raises(OutputError, match="name of the model's external data"):
                save_model(load_model(path), target, external_data=mode)  # type: ignore[arg-type]
    assert (tmp_path / "in" / "w.bin").read_bytes() == VALUES.tobytes()
    assert tree(out) == []


@pytest.mark.parametrize("location", ["../w.bin", "sub/../../w.bin", "ABSOLUTE", "inside/link.bin"])
def test_outside_data_is_refused_unless_allowed(tmp_path: Path, out: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(VALUES.tobytes())
    location = str(tmp_path / "w.bin") if location == "ABSOLUTE" else location
    path = write(tmp_path / "in", location, create=False)
    (tmp_path / "in" / "inside").mkdir()
    (tmp_path / "in" / "inside" / "link.bin").symlink_to(tmp_path / "w.bin")
    (tmp_path / "in" / "sub").mkdir()
    for mode in ("copy", "keep", "embed", "link"):
        with pytest.raises(InputError, match="outside the model's folder; --allow-outside-data"):
            save_model(load_model(path), out / "m.onnx", external_data=mode)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="outside the model's folder"):
        value(path)
    assert tree(out) == []
    model = load_model(path)
    save_model(model, out / "kept.onnx", allow_outside_data=True)
    assert "stays where it is" in model.warnings[0]
    assert tree(tmp_path / "out") == ["kept.onnx"]
    save_model(model, out / "in.onnx", external_data="embed", allow_outside_data=True)
    np.testing.assert_array_equal(value(out / "in.onnx"), VALUES)


def test_linked_model_reads_data_beside_the_real_file(tmp_path: Path, out: Path) -> None:
    real = write(tmp_path / "blobs", "w.bin")
    view = tmp_path / "view"
    view.mkdir()
    (view / "m.onnx").symlink_to(real)
    (view / "w.bin").symlink_to(tmp_path / "blobs" / "w.bin")
    save_model(load_model(view / "m.onnx"), out / "m.onnx")
    assert not (out / "w.bin").is_symlink()
    np.testing.assert_array_equal(value(out / "m.onnx"), VALUES)


def test_nothing_is_written_out_of_the_output_folder(tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "in", "sub/w.bin")
    (tmp_path / "elsewhere").mkdir()
    (out / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="leads out of the output's folder"):
        save_model(load_model(path), out / "m.onnx")
    assert tree(tmp_path / "elsewhere") == []


def test_failure_takes_brought_data_away_again(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(write(tmp_path / "in", "deep/w.bin", "v.bin"))
    count = 0
    replace = os.replace

    def fail_for_the_model(source: str, target: Path) -> None:
        nonlocal count
        count += 1
        if target.name == "m.onnx":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(external_data.os, "replace", fail_for_the_model)
    with pytest.raises(OutputError, match="No space left"):
        save_model(model, out / "m.onnx")
    assert count == 3  # data came first
    assert list(out.iterdir()) == []


def test_model_from_bytes_cannot_bring_its_data(tmp_path: Path, out: Path) -> None:
    model = load_model(write(tmp_path / "in", "w.bin").read_bytes())
    save_model(model, out / "m.onnx")
    assert "not read from a file" in model.warnings[0]
    with pytest.raises(InputError, match="not read from a file"):
        save_model(model, out / "m.onnx", external_data="embed")


@pytest.mark.parametrize("bad", [{"location": ""}, {"location": "a\0b"}, {"offset": "0"}])
def test_hostile_entries_are_one_line(tmp_path: Path, bad: dict[str, str]) -> None:
    proto = loss_cases.chain()
    tensor = proto.graph.initializer.add(name="w", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.metadata_props.add(key="location", value="x")
    for key, entry in bad.items():
        tensor.external_data.add(key=key, value=entry)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match="tensor 'w'") as raised:
        save_model(load_model(tmp_path / "m.onnx"), tmp_path / "out.onnx")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("fallback", [(), ("_clone",), ("_clone", "copy_file_range"), ("_clone", "SEEK_DATA")])
def test_copy_keeps_content_and_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fallback: tuple[str, ...]
) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with open(source, "wb") as stream:
        stream.truncate(64 << 20)
        stream.seek(20 << 20)
        stream.write(os.urandom(3 << 20))
        stream.seek(40 << 20)
        stream.write(b"end")
    if "_clone" in fallback:
        monkeypatch.setattr(copying, "_clone", lambda source, target: False)
    for name in fallback[1:]:
        monkeypatch.delattr(copying.os, name)
    with open(source, "rb") as a, open(target, "wb") as b:
        copying.copy_content(a.fileno(), b.fileno())
    monkeypatch.undo()
    assert copying.same_content(source, target)
    if "SEEK_DATA" not in fallback:
        assert os.stat(target).st_blocks <= os.stat(source).st_blocks + 64
    with open(target, "r+b") as stream:
        stream.seek(63 << 20)
        stream.write(b"x")
    assert not copying.same_content(source, target)


@pytest.mark.posix
def test_annotating_touches_no_weights_and_little_memory(tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "in", "w.bin", create=False)
    proto = onnx.ModelProto.FromString(path.read_bytes())
    del proto.graph.initializer[:]
    for index in range(5):
        tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[1 << 27])
        proto.graph.initializer.append(refer(tensor, "w.bin", index << 29, 1 << 29))
    path.write_bytes(proto.SerializeToString())
    with open(tmp_path / "in" / "w.bin", "wb") as stream:
        stream.truncate(5 << 29)
        stream.seek((4 << 29) + 12)
        stream.write(np.float32(7.0).tobytes())
    code = """if True:
        import resource, sys
        from modelexport.ir import load_model, save_model
        from modelexport.ir.io.weights import read_tensor
        model = load_model(sys.argv[1])
        for node in model.nodes():
            node.patch_metadata({"htp.tag": "/Model"})
        save_model(model, sys.argv[2])
        again = load_model(sys.argv[2])
        print(float(read_tensor(again, again.main, "w4")[3]), *model.warnings)
        try:  # ru_maxrss begins with the peak of the process that started this one
            peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
        except OSError:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(peak // 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(out / "m.onnx")], check=True, capture_output=True, text=True
    )
    read, memory = done.stdout.split()
    assert float(read) == 7.0
    assert int(memory) < 150
    assert os.stat(out / "w.bin").st_size == 5 << 29
    assert os.stat(out / "w.bin").st_blocks * 512 < 1 << 20
