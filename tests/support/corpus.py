"""The ONNX backend corpus, built from the installed onnx package: wheel data, node tests and model tests."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import onnx


@functools.cache
def corpus() -> tuple[tuple[str, bytes], ...]:
    """Name and deterministic bytes of every model, built once per session (about 5 s)."""
    from onnx.backend.test.case import model as model_cases
    from onnx.backend.test.case import node as node_cases

    found: list[tuple[str, bytes]] = []
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for path in sorted(folder.rglob("*.onnx")):
        proto = onnx.ModelProto.FromString(path.read_bytes())
        found.append((path.relative_to(folder).as_posix(), serialized(proto)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # test data of float8 and the like overflows on purpose
        cases = [*node_cases.collect_testcases(None), *model_cases.collect_testcases()]
    found += [(case.name, serialized(case.model)) for case in cases if case.model is not None]
    return tuple(found)


def serialized(proto: onnx.ModelProto) -> bytes:
    data: bytes = proto.SerializeToString(deterministic=True)
    return data
