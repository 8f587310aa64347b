"""The trace file: what is written is read back, and a damaged or hostile file is an InputError."""

import io
import json
import zipfile

import numpy as np
import pytest

from modelexport.ir.errors import InputError, OutputError
from modelexport.ir.io import trace_file
from modelexport.ir.io.trace_file import SAMPLES, STATS, Parameter, Trace, View, load_trace, save_trace
from modelexport.ir.modules import Module


def small_trace() -> Trace:
    rng = np.random.default_rng(0)
    view = View(
        "eager",
        0,
        ("linear", "relu"),
        np.array([0, 1], np.int32),
        np.array([1, 0], np.int32),
        np.array([0, 2, 3]),
        np.array([0, 1, 2], np.int32),
        np.array([0, 1, 2]),
        np.array([2, 3], np.int32),
        rng.normal(size=(4, STATS)),
        rng.normal(size=(4, SAMPLES)).astype(np.float32),
        np.array([0, 2, 4, 6, 8]),
        np.array([2, 3, 4, 3, 2, 4, 2, 4]),
        names=("x", "fc.weight", "", ""),
        inputs={"x": 0},
    )
    return Trace(
        (Module("", "toy.Net", 1), Module("fc", "torch.nn.Linear", 2, ("alias",), 12)),
        (Parameter("fc.weight", 1, (4, 3), ("alias.weight",)),),
        np.ones((1, STATS)),
        np.ones((1, SAMPLES), np.float32),
        np.zeros((1, SAMPLES), np.float32),
        ({"x": np.arange(6, dtype=np.float32).reshape(2, 3), "mask": np.array([True, False])},),
        ({"x": "float32", "mask": "bool"},),
        (view,),
        {"torch": "2"},
    )


def test_what_is_written_is_read_back(tmp_path):
    trace = small_trace()
    back = load_trace(save_trace(trace, tmp_path / "m.htptrace"))
    assert [(m.path, m.cls, m.calls, m.aliases, m.parameters) for m in back.modules] == [
        ("", "toy.Net", 1, (), 0),
        ("fc", "torch.nn.Linear", 2, ("alias",), 12),
    ]
    assert back.parameters == trace.parameters and back.notes == {"torch": "2"}
    np.testing.assert_array_equal(back.examples[0]["x"], trace.examples[0]["x"])
    assert back.examples[0]["mask"].dtype == bool
    view, source = back.views[0], trace.views[0]
    assert view.ops == source.ops and view.names == source.names and view.inputs == {"x": 0}
    np.testing.assert_array_equal(view.stats, source.stats)
    assert view.reads(0).tolist() == [0, 1] and view.makes(1).tolist() == [3] and view.shape(1) == (4, 3)
    assert back.module_table()["fc"].class_name == "Linear"


def test_equal_traces_are_equal_files(tmp_path):
    one, two = save_trace(small_trace(), tmp_path / "a"), save_trace(small_trace(), tmp_path / "b")
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_folder_that_does_not_exist_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        save_trace(small_trace(), tmp_path / "missing" / "m.htptrace")


def rewritten(tmp_path, change):
    """A copy of a good file with ``change(name, data) -> data | None`` applied to every member."""
    source = save_trace(small_trace(), tmp_path / "good.htptrace")
    target = tmp_path / "bad.htptrace"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def with_header(tmp_path, **changes):
    def change(name, data):
        return json.dumps({**json.loads(data), **changes}) if name == "header.json" else data

    return rewritten(tmp_path, change)


def array_bytes(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"version": 3},
        {"modules": [["", "x"]]},
        {"modules": 3},
        {"parameters": [["w", 99, [1], []]]},
        {"views": [{"kind": "eager", "example": 5, "ops": ["a", "b"], "nodes": [], "names": [], "inputs": {}}]},
        {"views": [{"kind": "eager", "example": 0, "ops": ["a"], "nodes": [], "names": [], "inputs": {}}]},
        {"views": [{"kind": "eager", "example": 0, "ops": ["a", "b"], "nodes": ["n"], "names": [], "inputs": {}}]},
        {"views": [{"kind": "eager", "example": 0, "ops": ["a", "b"], "nodes": [], "names": [], "inputs": {"x": 9}}]},
        {"examples": [[["x", "nowhere", "float32"]]]},
        {"notes": []},
    ],
)
def test_a_bad_header_is_an_input_error(tmp_path, changes):
    with pytest.raises(InputError, match=r"bad\.htptrace"):
        load_trace(with_header(tmp_path, **changes))


@pytest.mark.parametrize(
    ("member", "data"),
    [
        ("header.json", b"{"),
        ("header.json", b"[" * 100_000),
        ("header.json", None),
        ("views.0.op.npy", None),
        ("views.0.op.npy", b"\x93NUMPY\x01\x00\x10\x00{'shape'"),
        ("views.0.op.npy", array_bytes(np.array([0, 7], np.int32))),
        ("views.0.out_ids.npy", array_bytes(np.array([2, 4], np.int32))),
        ("views.0.in_offsets.npy", array_bytes(np.array([0, 3, 2]))),
        ("views.0.stats.npy", array_bytes(np.zeros((4, 3)))),
        ("views.0.stats.npy", array_bytes(np.array([{}, {}], dtype=object), allow_pickle=True)),
        ("views.0.dims.npy", b"\x93NUMPY\x01\x00\x76\x00"
         + b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"),
    ],
)  # fmt: skip
def test_a_bad_member_is_an_input_error(tmp_path, member, data):
    target = rewritten(tmp_path, lambda name, old: data if name == member else old)
    with pytest.raises(InputError, match=r"bad\.htptrace"):
        load_trace(target)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    target = tmp_path / "bad.htptrace"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("header.json", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    assert target.stat().st_size < 1 << 20
    with pytest.raises(InputError, match="too large"):
        load_trace(target)


@pytest.mark.parametrize(("bound", "value"), [("_MAX_MEMBERS", 2), ("_MAX_BYTES", 100)])
def test_members_are_bounded_before_one_is_read(tmp_path, monkeypatch, bound, value):
    whole = save_trace(small_trace(), tmp_path / "m")
    assert load_trace(whole).modules
    monkeypatch.setattr(trace_file, bound, value)
    with pytest.raises(InputError, match=r"trace file is too large \(\d+ members\)"):
        load_trace(whole)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04rubbish", b"not a trace"])
def test_other_files_are_an_input_error(tmp_path, data):
    path = tmp_path / "bad.htptrace"
    path.write_bytes(data)
    with pytest.raises(InputError, match="not a trace file"):
        load_trace(path)


def test_a_truncated_file_is_an_input_error(tmp_path):
    whole = save_trace(small_trace(), tmp_path / "m").read_bytes()
    path = tmp_path / "bad.htptrace"
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            load_trace(path)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_trace(tmp_path / "none")
