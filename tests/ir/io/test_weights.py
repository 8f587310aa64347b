"""Reading tensors: every type, inside the model and in files, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import loss_cases
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelexport.ir import load_model
from modelexport.ir.errors import InputError
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.weights import Weights, read_tensor

NUMBERS = [name for name in TensorProto.DataType.keys() if name not in ("UNDEFINED", "STRING")]  # noqa: SIM118 - not a dict


def load(folder: Path, *tensors: TensorProto, data: bytes = b"") -> Weights:
    proto = loss_cases.chain()
    proto.graph.initializer.extend(tensors)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    (folder / "w.bin").write_bytes(data)
    return Weights(load_model(folder / "m.onnx"))


def referring(name: str, data_type: int, dims: list[int], **entries: object) -> TensorProto:
    tensor = TensorProto(name=name, data_type=data_type, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "w.bin", **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("with_length", [True, False])
def test_every_type_reads_the_same_from_a_file(tmp_path: Path, name: str, with_length: bool) -> None:
    data_type = TensorProto.DataType.Value(name)
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(helper.tensor_dtype_to_np_dtype(data_type))
    inline = onnx.numpy_helper.from_array(values, "inline")
    entries = {"offset": 3} | ({"length": len(inline.raw_data)} if with_length else {})
    outside = referring("outside", data_type, [2, 3], **entries)
    weights = load(tmp_path, inline, outside, data=b"pad" + inline.raw_data)
    main = weights._model.main
    read = weights.read(main, "outside")
    assert read.dtype == weights.read(main, "inline").dtype
    np.testing.assert_array_equal(read.astype("c16"), values.astype("c16"))


def test_large_types_are_mapped_not_copied(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.float64)
    weights = load(tmp_path, referring("w", TensorProto.DOUBLE, [1000]), data=values.tobytes())
    read = weights.read(weights._model.main, "w")
    np.testing.assert_array_equal(read, values)
    assert not read.flags.owndata
    assert not read.flags.writeable


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (referring("w", 1, [2], offset=4), r"w\.bin: tensor 'w' ends at byte 12 of a file of 8"),
        (referring("w", 1, [2], offset=99), "ends at byte"),
        (referring("w", 1, [2], length=4), "needs 8 bytes and has 4"),
        (referring("w", 1, [-2]), "negative dimension"),
        (referring("w", 1, [1 << 40, 1 << 40]), "of a file of 8"),
        (referring("w", 99, [2]), "tensor 'w' can't be read"),
        (referring("w", TensorProto.STRING, [2]), "tensor 'w' can't be read"),
        (referring("w", 1, [2], location="gone.bin"), r"gone\.bin: No such file"),
        (referring("w", 1, [2], location="."), "Is a directory"),
        (referring("w", 1, [2], location="../w.bin"), "outside the model's folder"),
        (referring("w", 1, [2], length="many"), "length 'many' is not a number"),
        (TensorProto(name="w", data_type=1, dims=[3], raw_data=b"1234"), "tensor 'w' can't be read"),
        (TensorProto(name="w", data_type=99, dims=[1]), "tensor 'w' can't be read"),
    ],
)
def test_errors_name_file_and_tensor(tmp_path: Path, tensor: TensorProto, message: str) -> None:
    weights = load(tmp_path, tensor, data=bytes(8))
    with pytest.raises(InputError, match=message) as raised:
        weights.read(weights._model.main, "w")
    assert "\n" not in str(raised.value)


def test_unknown_name_is_an_error_that_names_the_scope(tmp_path: Path) -> None:
    model = from_proto(loss_cases.chain())
    with pytest.raises(InputError, match="main has no initializer 'w'"):
        read_tensor(model, model.main, "w")


def test_a_body_sees_outer_initializers_and_renames() -> None:
    model = from_proto(loss_cases.build("captured_initializer"))
    body = next(graph for graph in model.graphs() if graph.kind == "body")
    np.testing.assert_array_equal(read_tensor(model, body, "w"), [1.0, 2.0])
    model.main.rename_value("w", "weight")
    np.testing.assert_array_equal(read_tensor(model, body, "weight"), [1.0, 2.0])


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_is_made_dense(linear: bool) -> None:
    positions = [1, 5] if linear else [0, 1, 1, 2]
    indices = helper.make_tensor("i", TensorProto.INT64, [2] if linear else [2, 2], positions)
    proto = loss_cases.chain()
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(loss_cases.tensor("s", 2.0, 3.0), indices, [2, 3]))
    model = from_proto(proto)
    np.testing.assert_array_equal(read_tensor(model, model.main, "s"), [[0, 2, 0], [0, 0, 3]])
    proto.graph.sparse_initializer[0].indices.int64_data[-1] = 99
    with pytest.raises(InputError, match="can't be made dense"):
        read_tensor(model, model.main, "s")


def test_empty_tensor_in_an_empty_file(tmp_path: Path) -> None:
    weights = load(tmp_path, referring("w", 1, [0, 4]))
    assert weights.read(weights._model.main, "w").shape == (0, 4)
