"""Examples of what is fuzzed: real files and texts, damaged."""

from __future__ import annotations

import base64
import io
import json
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loss_cases
import numpy as np
import onnx
from fuzz_mutations import damaged_archive, damaged_bytes, damaged_document, damaged_model, damaged_text, json_bytes
from fuzz_running import MODEL, TAGGED, run
from hypothesis import strategies as st


def models(folder: Path) -> st.SearchStrategy[bytes]:
    seeds = [(folder / TAGGED).read_bytes(), *(loss_cases.build(name).SerializeToString() for name in loss_cases.CASES)]
    return damaged_model(seeds) | damaged_model(seeds[:1]) | damaged_bytes(seeds)


def tables(folder: Path) -> st.SearchStrategy[bytes]:
    """Models whose embedded tables, or the metadata of whose nodes, are damaged but packed as they should be."""
    from modelexport.ir.io.embedded_tags import pack

    seed = (folder / TAGGED).read_bytes()
    modules: list[list[object]] = [
        ["", "pkg.M", "/M", 1],
        ["encoder", "pkg.E", "/M/E", 2, None, 16],
        ["head", "H", "/M/H", 1],
    ]
    rows: list[list[object]] = [["main", [["/encoder/MatMul", "h", 0], ["", "y", 1]]]]
    packed = {"modules": modules, "nodes": rows}
    proto = onnx.ModelProto.FromString(seed)
    for entry in proto.metadata_props:
        kind = entry.key.split(".")[1] if entry.key.startswith("htp.") else ""
        if kind in packed:
            packed[kind] = unpacked(entry.value, kind)
    assert packed["nodes"] and packed["modules"]

    def with_tables(tables: Any) -> bytes:
        made = onnx.ModelProto.FromString(seed)
        for entry in made.metadata_props:
            kind = entry.key.split(".")[1] if entry.key.startswith("htp.") else ""
            if kind in tables and isinstance(tables, dict):
                rows = tables[kind]
                content = json_bytes({"v": 2 if kind == "modules" else 1, kind: rows}).decode("utf-8", "surrogatepass")
                entry.value = pack_text(content)
        for node in made.graph.node:  # so that the tables are what is looked at
            del node.metadata_props[:]
        return bytes(made.SerializeToString())

    assert pack("modules", modules)
    return damaged_document([packed]).filter(lambda tables: isinstance(tables, dict)).map(with_tables)


def unpacked(value: str, kind: str) -> list[list[object]]:
    from modelexport.ir.io.embedded_tags import unpack

    return unpack(value, 1 << 20, kind)  # type: ignore[return-value]


def pack_text(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode("utf-8", "surrogatepass"))).decode("ascii")


def documents(*seeds: Any) -> Callable[[Path], st.SearchStrategy[bytes]]:
    whole = list(seeds)
    return lambda folder: damaged_document(whole).map(json_bytes) | damaged_bytes([json_bytes(one) for one in whole])


def texts(*seeds: str) -> Callable[[Path], st.SearchStrategy[bytes]]:
    return lambda folder: damaged_text(list(seeds)).map(lambda text: text.encode("utf-8", "surrogatepass"))


def sidecars(folder: Path) -> st.SearchStrategy[bytes]:
    return documents(json.loads((folder / "tagged_hierarchy.json").read_bytes()))(folder)


def of_report(*arguments: str) -> Callable[[Path], st.SearchStrategy[bytes]]:
    def made(folder: Path) -> st.SearchStrategy[bytes]:
        report = json.loads(run(tuple(word.replace("FOLDER", str(folder)) for word in arguments))[1])
        own = {"name": "n", "unit": "us", "aggregate": "sum", "values": {"/head/Add": 1.5, "module:encoder": 2}}
        results = {"g": {"results": {"/head/Add": {"value": 3}, "y": 2}, "thresholds": []}}
        return documents(report, own, results)(folder)

    return made


def overlays(folder: Path) -> st.SearchStrategy[bytes]:
    tagged, plain = str(folder / TAGGED), str(folder / MODEL)
    cost = of_report("modelexport", "cost", tagged, "--format", "json", "--by", "node", "--no-run")(folder)
    return cost | of_report("modelexport", "diff", tagged, plain, "--format", "json")(folder)


def profiles(folder: Path) -> st.SearchStrategy[bytes]:
    def event(name: str, start: int, op: str = "Add", cat: str = "Node") -> dict[str, Any]:
        args = {"op_name": op, "provider": "CPUExecutionProvider", "input_type_shape": [{"float": [2, 4]}]}
        return {"cat": cat, "pid": 1, "tid": 1, "ts": start, "dur": 5, "ph": "X", "name": name, "args": args}

    names = [
        ("/encoder/MatMul_kernel_time", "MatMul"),
        ("/encoder/If_kernel_time", "If"),
        ("/head/Add_kernel_time", "Add"),
    ]
    events = [event("model_run", at * 100, cat="Session") for at in range(2)]
    events += [event(name, at * 100 + 6 * i, op) for at in range(2) for i, (name, op) in enumerate(names)]
    one_a_line = damaged_document([events]).map(lines)
    engine = [
        {"count": 10},
        {"name": "/head/Add", "timeMs": 1.0, "averageMs": 0.1, "medianMs": 0.1, "percentage": 50.0},
    ]
    return one_a_line | documents(events, {"traceEvents": events}, engine)(folder)


def lines(events: Any) -> bytes:
    """One event a line, as onnxruntime writes them."""
    if not isinstance(events, list):
        return json_bytes(events)
    return b"[\n" + b",\n".join(json_bytes(one) for one in events) + b"\n]\n"


def traces(folder: Path) -> st.SearchStrategy[bytes]:
    path = folder / "seed.htptrace"
    write_trace(path)
    data = path.read_bytes()
    path.unlink()
    return damaged_archive([data], "header.json") | damaged_bytes([data])


def write_trace(path: Path) -> None:
    """A trace of one view over one example of ``small_model``."""
    from modelexport.ir.io.trace_file import Parameter, Trace, View, save_trace
    from modelexport.ir.modules import Module

    def ints(*values: int) -> Any:
        return np.asarray(values, np.int32)

    view = View(
        "eager",
        0,
        ("matmul", "add"),
        ints(0, 1),
        ints(1, 2),
        ints(0, 1, 2),
        ints(0, 1),
        ints(0, 1, 2),
        ints(1, 2),
        np.ones((3, 7)),
        np.ones((3, 16), np.float32),
        ints(0, 2, 4, 6),
        ints(1, 4, 1, 4, 1, 4),
        inputs={"x": 0},
    )
    modules = (Module("", "M"), Module("encoder", "E"), Module("head", "H"))
    parameters = (Parameter("encoder.weight", 1, (4, 4)), Parameter("head.bias", 2, (4,), ("tied",)))
    example = {"x": np.ones((1, 4), np.float32), "flag": np.asarray(True)}
    save_trace(
        Trace(
            modules,
            parameters,
            np.ones((2, 7)),
            np.ones((2, 16), np.float32),
            np.ones((2, 16), np.float32),
            (example,),
            ({"x": "float32", "flag": "bool"},),
            (view,),
            {"note": "x"},
        ),
        path,
    )


def arrays(folder: Path) -> st.SearchStrategy[bytes]:
    seeds = []
    for arrays in ({"x": np.ones((2, 4), np.float32)}, {"x": np.ones((2, 4)), "flag": np.asarray([True])}, {}):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        seeds.append(buffer.getvalue())
    buffer = io.BytesIO()
    np.save(buffer, np.asarray([{}], dtype=object), allow_pickle=True)
    return damaged_archive(seeds[:2], "x.npy") | damaged_bytes([*seeds, buffer.getvalue()])


def results(folder: Path) -> st.SearchStrategy[bytes]:
    """Lines of an earlier batch in which every model has been exported, so that there is nothing to do."""
    from modelexport.cli.batching.manifest import read_manifest

    (folder / "manifest.jsonl").write_text(json.dumps({"model": "model.onnx", "output": MODEL}) + "\n")
    entry = read_manifest(folder / "manifest.jsonl")[0]
    line = {
        "model": entry.model,
        "output": str(entry.output),
        "status": "ok",
        "seconds": 1.5,
        "resumed": False,
        "peak_memory_mb": 5,
        "fingerprint": entry.fingerprint(),
        "result": {"total_operations": 4, "tagged_operations": 4, "by_source": {"scope": 4}},
    }
    return damaged_document([[line, line]]).map(
        lambda rows: b"\n".join(json_bytes(row) for row in (rows if isinstance(rows, list) else [rows]))
    )


CONFIG: dict[str, Any] = {
    "opset_version": 17,
    "exporter": "auto",
    "optimize": True,
    "input_names": ["x"],
    "strategy": "htp",
    "dynamic_axes": {"x": {"0": "batch"}},
    "input_specs": {"x": {"shape": [1, 4], "dtype": "float", "range": [0, 1]}},
}
MANIFEST = {
    "model": "model.py",
    "output": "o.onnx",
    "input_shape": {"x": [1, 4]},
    "time_limit": 3.5,
    "opset_version": 17,
}


def toml(document: Any) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in document.items() if not isinstance(value, dict))


TOML = toml(CONFIG) + '\n[input_specs.x]\nshape = [1, 4]\n[dynamic_axes.x]\n0 = "batch"\n'
assert tomllib.loads(TOML)
PIPELINES = (
    "htp",
    "scope-attribution,context-inheritance{max-hops=3},fallback-tagging",
    "strip-tags",
    'extract-module{paths="encoder" call=1}',
    "node-naming{keep-scoped=false values=true},fallback-tagging",
    "layer-annotation",
    "coverage-validation{min-coverage=0.5 max-fallback=1.0}",
    "constant-folding",
    "htp,attribute-embedding{interop=torch carrier=both table=false torch-nn=false}",
)
SELECTORS = (
    "path:encoder and op:MatMul",
    "not (tag:/M/* or source:fallback)",
    "name:'/head/Add' | op:Add,Softmax",
    "depth:<=2 and confidence:>0.5",
    "path:encoder.* minus op:If",
    "input:x",
    "weight:encoder.weight",
    "all",
)
