"""What a file says of sizes costs no more memory than the file's graph can account for."""

from __future__ import annotations

import base64
import json
import secrets
import tracemalloc
import zlib

import pytest

from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import BadTable, record, unpack

BUDGET = 1 << 20


def packed(rows: str, level: int = 9) -> str:
    return base64.b64encode(zlib.compress(b'{"v":1,"nodes":[' + rows.encode() + b"]}", level)).decode()


def test_a_table_that_unpacks_to_more_than_its_graph_can_account_for() -> None:
    bomb = packed(" " * (48 << 20))
    assert len(bomb) < BUDGET // 8
    tracemalloc.start()
    try:
        with pytest.raises(BadTable, match="truncated or larger than the graph can account for"):
            unpack(bomb, BUDGET, "nodes")
        assert tracemalloc.get_traced_memory()[1] < 4 * BUDGET
    finally:
        tracemalloc.stop()


def test_a_table_that_is_itself_too_large_is_not_unpacked() -> None:
    large = packed(json.dumps(secrets.token_hex(2 * BUDGET)))
    tracemalloc.start()
    try:
        with pytest.raises(BadTable, match="table is larger than the graph can account for"):
            unpack(large, BUDGET, "nodes")
        assert tracemalloc.get_traced_memory()[1] < BUDGET // 8
    finally:
        tracemalloc.stop()
    assert unpack(large, 8 * BUDGET, "nodes")


def test_a_table_that_is_nested_deeper_than_python_reads() -> None:
    with pytest.raises(BadTable, match="not JSON"):
        unpack(packed("[" * 200_000), BUDGET, "nodes")
    assert embedded_tags._doc_fields('{"a":' * 12_000) is None


def test_a_tag_that_no_module_has_is_not_taken() -> None:
    assert record("a", "/" + "n" * 8000, "scope", "node-name", 1.0) is not None
    assert record("a", "/" + "n" * 9000, "scope", "node-name", 1.0) is None
