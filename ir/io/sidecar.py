"""The sidecar ``<stem>_hierarchy.json``: what is known of every node, beside the model."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

from modelexport.ir.attribution import Attribution
from modelexport.ir.errors import ConfigError, InputError, SidecarNotFoundError
from modelexport.ir.identity.digest import graph_digest
from modelexport.ir.identity.file_kinds import told
from modelexport.ir.identity.keys import node_keys
from modelexport.ir.io.atomic import atomic_output
from modelexport.ir.io.embedded_tags import pipeline_of
from modelexport.ir.model import Model
from modelexport.ir.modules.levels import add_levels
from modelexport.ir.modules.order import first_nodes, module_order
from modelexport.ir.operators import role
from modelexport.ir.scope import Scope
from modelexport.ir.text import readable, text

__all__ = ["FORMAT", "SCHEMA_FILE", "node_keys", "read_sidecar", "sidecar_path", "write_sidecar"]

FORMAT = "modelexport-hierarchy"
_DEEP = "nested too deeply"
SCHEMA_VERSION = "1.0"
SCHEMA_FILE = Path(__file__).with_name("sidecar.schema.json")
_EXPORTER_KEYS = ("name", "version", "strategy", "exporter")
_SUFFIX = "_hierarchy.json"
_quote = json.encoder.encode_basestring
_BATCH = 1 << 16  # characters gathered before they are encoded and written


def sidecar_path(model_path: str | PathLike[str]) -> Path:
    """Where the sidecar of a model file is: beside it, named after its stem."""
    path = Path(model_path)
    return path.with_name(path.stem + _SUFFIX)


def write_sidecar(
    model: Model,
    target: str | PathLike[str] | BinaryIO,
    *,
    exporter: Mapping[str, str] | None = None,
    pipeline: str | None = None,
    model_path: str | PathLike[str] | None = None,
    torch_nn: bool = True,
) -> None:
    """Write the sidecar of ``model``. The text is written piece by piece and never in memory as a whole.

    Args:
        target: the sidecar's path (see :func:`sidecar_path`), written atomically, or an open binary file.
        exporter: ``name``, ``version``, ``strategy`` and ``exporter``; what is missing is this package, the strategy
            ``htp`` and the model's producer.
        pipeline: text of the pipeline that ran; by default what the model's own metadata says.
        model_path: the model file it belongs to, of which only the name is recorded; by default the one that was read.
        torch_nn: False collapses torch.nn modules into the user module around them, in tags only.

    Raises:
        OutputError: the file can't be written.
        ConfigError: SOURCE_DATE_EPOCH is not a number of seconds.
    """
    pieces = _document(model, exporter or {}, pipeline, model_path, torch_nn)
    if isinstance(target, (str, PathLike)):
        with atomic_output(Path(target)) as stream:
            _write(pieces, stream)
    else:
        _write(pieces, target)


def read_sidecar(path: str | PathLike[str]) -> dict[str, Any]:
    """The content of a sidecar.

    Raises:
        SidecarNotFoundError: there is none of that name (also a FileNotFoundError).
        InputError: it can't be read or is not a sidecar.
    """
    try:
        with open(path, "rb") as stream:
            content = json.load(stream)
    except FileNotFoundError as error:
        raise SidecarNotFoundError(f"sidecar file {path} not found") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a sidecar{told(path, f': {str(error) or _DEEP}')}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not a sidecar: its format is not {FORMAT}")
    version = str(content.get("schema_version", ""))
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise InputError(f"{path}: schema version {version or 'missing'}, this release reads {SCHEMA_VERSION}")
    for key in ("modules", "node_tags", "summary", "tag_statistics"):
        if not isinstance(content.get(key), list if key == "modules" else dict):
            raise InputError(f"{path}: not a sidecar: {key} is missing or of the wrong kind")
    return content


def _write(pieces: Iterator[str], stream: BinaryIO) -> None:
    batch: list[str] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size > _BATCH:
            stream.write("".join(batch).encode("utf-8"))
            batch, size = [], 0
    stream.write("".join(batch).encode("utf-8"))


def _document(
    model: Model,
    exporter: Mapping[str, str],
    pipeline: str | None,
    model_path: str | PathLike[str] | None,
    torch_nn: bool,
) -> Iterator[str]:
    first = first_nodes(model.nodes())
    for path in first:
        model.modules.ensure(path)
    add_levels(model.modules, first)
    tags = model.modules.tags(torch_nn)
    by_path = Counter(node.attribution.path for node in model.nodes() if node.attribution is not None)
    by_tag: Counter[str] = Counter()
    for path, number in by_path.items():
        by_tag[tags[path]] += number
    by_source = Counter(str(node.attribution.source) for node in model.nodes() if node.attribution is not None)
    total = sum(len(graph) for graph in model.graphs())
    head = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "generated_at": generated_at(),
        "model_path": readable(Path(model_path or model.path or "").name),
        "graph_digest": graph_digest(model),
        "exporter": _exporter(model, exporter),
        "pipeline": pipeline_of(model.metadata) or "" if pipeline is None else pipeline,
        "summary": {
            "total_operations": total,
            "tagged_operations": sum(by_path.values()),
            "unique_tags": len(by_tag),
            "by_source": dict(sorted(by_source.items())),
        },
    }
    for key, value in head.items():
        yield f"{'{' if key == 'format' else ','}\n {_json(key)}: {_json(value)}"
    yield ',\n "modules": ['
    yield from _separated(_json(_module(model, path, tags)) for path in module_order(model.modules, first))
    yield '],\n "tag_statistics": {'
    yield from _separated(f"{_json(tag)}: {number}" for tag, number in sorted(by_tag.items()))
    yield '},\n "node_tags": {'
    yield from _separated(_rows(model, tags))
    yield "}\n}\n"


def _separated(items: Iterator[str]) -> Iterator[str]:
    first = True
    for item in items:
        yield ("\n  " if first else ",\n  ") + item
        first = False


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _module(model: Model, path: str, tags: Mapping[str, str]) -> dict[str, Any]:
    module = model.modules[path]
    return {
        "path": readable(path),
        "class": readable(module.cls),
        "tag": readable(tags[path]),
        "parent": model.modules.parent(path),
        "calls": module.calls,
        "aliases": list(module.aliases),
        "parameters": module.parameters,
        "same_as": None if module.same_as is None else readable(module.same_as),
    }


def _rows(model: Model, tags: Mapping[str, str]) -> Iterator[str]:
    """One entry of ``node_tags`` per node; what nodes have in common is made once."""
    operators: dict[tuple[str, str], tuple[str, str]] = {}
    origins: dict[Attribution | None, str] = {}
    scopes: dict[Scope, str] = {}
    for key, node in node_keys(model):
        call = (node.op_type, node.domain)
        if call not in operators:
            operators[call] = (_string(node.op_type), _json(role(*call)))
        op_type, kind = operators[call]
        origin = origins.get(node.attribution)
        if origin is None:
            origin = origins[node.attribution] = _json(_origin(node.attribution, tags))[1:-1]
        scope = scopes.get(node.graph)
        if scope is None:
            scope = scopes[node.graph] = _string(node.graph.scope)
        inputs, outputs = ", ".join(map(_string, node.inputs)), ", ".join(map(_string, node.outputs))
        yield (
            f'{_string(key)}: {{"op_type": {op_type}, {origin}, "role": {kind}, "graph": {scope}, '
            f'"inputs": [{inputs}], "outputs": [{outputs}]}}'
        )


def _origin(attribution: Attribution | None, tags: Mapping[str, str]) -> dict[str, Any]:
    if attribution is None:
        return {"tags": [], "path": None, "source": None, "rule": None, "confidence": None}
    return {
        "tags": [readable(tags[attribution.path])],
        "path": readable(attribution.path),
        "source": str(attribution.source),
        "rule": attribution.rule,
        "confidence": round(attribution.confidence, 2),
    }


def _string(value: str) -> str:
    return _quote(readable(value))


def _exporter(model: Model, given: Mapping[str, str]) -> dict[str, str]:
    try:
        version = metadata.version("modelexport")
    except metadata.PackageNotFoundError:
        version = ""
    known = {"name": "modelexport", "version": version, "strategy": "htp"}
    known["exporter"] = readable(text(model.proto.producer_name))
    return {key: str(given.get(key, known[key])) for key in _EXPORTER_KEYS}


def generated_at() -> str:
    """The time that a sidecar written now states, in UTC. Raises ConfigError where SOURCE_DATE_EPOCH is no time."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(f"SOURCE_DATE_EPOCH is {epoch!r}, not a number of seconds since 1970") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
