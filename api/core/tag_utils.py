"""Read, query, check and compare the tags of a model.

Every function takes the path of an ONNX file. Tags are read from its sidecar ``<stem>_hierarchy.json`` (row by row, so
its size does not matter) or, where that is missing or ``use_sidecar=False``, from the model itself. A node is known by
its *key*: its name where that is unique in the file, else ``graph#position:op_type``.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from io import TextIOWrapper
from os import PathLike
from pathlib import Path
from typing import Any

from modelexport.ir.io.atomic import atomic_output
from modelexport.ir.io.sidecar import read_sidecar
from modelexport.ir.io.tag_rows import TagRow, existing_sidecar, model_rows, sidecar_rows
from modelexport.ir.text import readable

CSV_COLUMNS = ("Node Name", "Op Type", "Tag Count", "Primary Tag", "All Tags", "Path", "Source", "Confidence")

FilePath = str | PathLike[str]


def load_tags_from_onnx(onnx_path: FilePath) -> dict[str, dict[str, Any]]:
    """Tags the model itself carries, by node key; nodes without one are left out.

    Returns:
        ``{key: {op_type, tags, primary_path, tag_count, method, source, confidence}}``; ``primary_path`` is the tag and
        ``method`` the rule that found it.
    """
    return {
        row.key: {
            "op_type": row.op_type,
            "tags": list(row.tags),
            "primary_path": row.tag,
            "tag_count": len(row.tags),
            "method": row.rule,
            "source": row.source,
            "confidence": row.confidence,
        }
        for row in model_rows(onnx_path)
        if row.tags
    }


def load_tags_from_sidecar(onnx_path: FilePath) -> dict[str, Any]:
    """The whole sidecar of a model, with ``node_tags`` and ``tag_statistics``.

    Raises:
        SidecarNotFoundError: there is none; the message has the expected file name. It is a FileNotFoundError.
        InputError: it is not a sidecar.
    """
    return read_sidecar(existing_sidecar(onnx_path))


def get_tag_statistics(onnx_path: FilePath, use_sidecar: bool = True) -> dict[str, int]:
    """Number of nodes per tag, in order of first appearance."""
    return dict(Counter(tag for row in tag_rows(onnx_path, use_sidecar) for tag in row.tags))


def query_operations_by_tag(onnx_path: FilePath, pattern: str, use_sidecar: bool = True) -> list[dict[str, Any]]:
    """Nodes whose tag matches.

    Args:
        pattern: text that the tag contains, or a glob for the whole tag when it has ``*`` or ``?``. ``path:``, ``tag:``
            and ``source:`` in front say what is matched. ``auxiliary`` means every auxiliary node, wherever it is from.

    Returns:
        ``[{node_name, op_type, matching_tag, all_tags}]`` in file order.
    """
    return [
        {"node_name": row.key, "op_type": row.op_type, "matching_tag": tag, "all_tags": list(row.tags)}
        for row, tag in matching(tag_rows(onnx_path, use_sidecar), pattern)
    ]


def validate_tag_consistency(onnx_path: FilePath) -> dict[str, Any]:
    """Whether model and sidecar say the same of every node.

    Returns:
        ``{consistent, total_onnx_nodes, total_sidecar_nodes, tag_mismatches, onnx_only_nodes, sidecar_only_nodes}``; a
        mismatch is ``{node, onnx_tags, sidecar_tags}``, the others are lists of keys. Without a readable sidecar
        ``{consistent: False, error}``.
    """
    if not Path(onnx_path).exists():
        return {"consistent": False, "error": f"{onnx_path}: no such file: there is no model to compare"}
    try:
        expected = {row.key: (row.tags, row.path) for row in sidecar_rows(onnx_path)}
    except FileNotFoundError as error:
        return {"consistent": False, "error": str(error)}
    total_sidecar, total = len(expected), 0
    mismatches: list[dict[str, Any]] = []
    model_only: list[str] = []
    for row in model_rows(onnx_path):
        total += 1
        found = expected.pop(row.key, None)
        row = replace(row, tags=tuple(map(readable, row.tags)), path=None if row.path is None else readable(row.path))
        if found is None:
            model_only.append(row.key)
        elif found != (row.tags, row.path):
            mismatch: dict[str, Any] = {"node": row.key, "onnx_tags": list(row.tags), "sidecar_tags": list(found[0])}
            if found[0] == row.tags:
                mismatch |= {"onnx_path": row.path, "sidecar_path": found[1]}
            mismatches.append(mismatch)
    return {
        "consistent": not (mismatches or model_only or expected),
        "total_onnx_nodes": total,
        "total_sidecar_nodes": total_sidecar,
        "tag_mismatches": mismatches,
        "onnx_only_nodes": model_only,
        "sidecar_only_nodes": list(expected),
    }


def export_tags_to_csv(onnx_path: FilePath, csv_path: FilePath, use_sidecar: bool = True) -> None:
    """Write one line per node; the columns are ``CSV_COLUMNS``, and several tags are joined by ``;``.

    Raises:
        OutputError: ``csv_path`` can't be written.
    """
    rows = tag_rows(onnx_path, use_sidecar)
    with atomic_output(Path(csv_path)) as stream:
        text = TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="")
        write_csv(rows, text)
        text.detach()  # flushes; the stream is atomic_output's to close


def compare_tag_distributions(onnx_path_a: FilePath, onnx_path_b: FilePath) -> dict[str, Any]:
    """Nodes per tag of two models: ``{model1_path, model2_path, tag_differences, model1_only_tags, model2_only_tags}``.

    ``tag_differences`` has a row ``{tag, model1_count, model2_count, difference}`` for every tag whose counts differ;
    ``difference`` is the second count minus the first.
    """
    first, second = get_tag_statistics(onnx_path_a), get_tag_statistics(onnx_path_b)
    return {
        "model1_path": str(onnx_path_a),
        "model2_path": str(onnx_path_b),
        "tag_differences": [
            {
                "tag": tag,
                "model1_count": first.get(tag, 0),
                "model2_count": second.get(tag, 0),
                "difference": second.get(tag, 0) - first.get(tag, 0),
            }
            for tag in dict.fromkeys((*first, *second))
            if first.get(tag, 0) != second.get(tag, 0)
        ],
        "model1_only_tags": [tag for tag in first if tag not in second],
        "model2_only_tags": [tag for tag in second if tag not in first],
    }


def tag_rows(onnx_path: FilePath, use_sidecar: bool = True) -> Iterator[TagRow]:
    """Rows of every node from the sidecar, or from the model itself where there is none or it is not wanted."""
    if use_sidecar:
        try:
            existing_sidecar(onnx_path)
        except FileNotFoundError:
            return model_rows(onnx_path)
        return sidecar_rows(onnx_path)
    return model_rows(onnx_path)


def matching(rows: Iterable[TagRow], pattern: str) -> Iterator[tuple[TagRow, str]]:
    """Rows that match a query pattern, each with the tag that matched."""
    kind, separator, rest = pattern.partition(":")
    if not separator or kind not in ("path", "tag", "source"):
        kind, rest = "tag", pattern
    test = _test(rest)
    for row in rows:
        if kind == "path":
            hit = row.tag if row.path is not None and test(row.path) else None
        elif kind == "source":
            hit = row.tag if test(row.source) else None
        elif pattern == "auxiliary":
            hit = row.tag if row.role == "auxiliary" else None
        else:
            hit = next((tag for tag in row.tags if test(tag)), None)
        if hit is not None:
            yield row, hit


def write_csv(rows: Iterable[TagRow], stream: Any) -> None:
    """Write the columns and one line per row to a text stream."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        tags = ";".join(row.tags)
        writer.writerow(
            [row.key, row.op_type, len(row.tags), row.tag, tags, row.path, row.source, f"{row.confidence:.2f}"]
        )


def _test(pattern: str) -> Callable[[str], bool]:
    if "*" in pattern or "?" in pattern:
        return lambda text: fnmatchcase(text, pattern)
    return lambda text: pattern in text
