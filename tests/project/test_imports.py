"""Imports point one way, and heavy libraries stay in the rooms that own them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "ir": {"ir"},
    "passes": {"ir", "passes"},
    "analysis": {"ir", "passes", "analysis"},
    "views": {"ir", "passes", "analysis", "views"},
    "frontend": {"ir", "passes", "frontend"},
    "cli": {"ir", "passes", "analysis", "views", "frontend", "cli", "api"},
    "api": {"ir", "passes", "analysis", "views", "frontend", "cli", "api"},
}
SOURCES = [file for folder in MAY_IMPORT for file in sorted((ROOT / folder).rglob("*.py"))]
TORCH_FAMILY = {"torch", "transformers", "onnxscript"}


@dataclass(frozen=True)
class Import:
    file: str
    line: int
    module: str
    lazy: bool = False  # inside a function
    typing: bool = False  # for the type checker only

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports(name: str, source: str) -> Iterator[Import]:
    """Every import of a file, at any depth, and calls of import_module with a literal name."""

    def walk(node: ast.AST, lazy: bool, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(name, node.lineno, alias.name, lazy, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno} is a relative import"
            for alias in node.names:
                yield Import(name, node.lineno, f"{node.module}.{alias.name}", lazy, typing)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield Import(name, node.lineno, node.args[0].value, lazy, typing)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = typing or (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"))
        for child in ast.iter_child_nodes(node):
            yield from walk(child, lazy, typing)

    yield from walk(ast.parse(source), False, False)


ALL = [found for file in SOURCES for found in imports(file.relative_to(ROOT).as_posix(), file.read_text())]


def room(found: Import) -> str:
    return found.file.split("/")[0]


def target(found: Import) -> str | None:
    """The room that an import of ours reaches, else None."""
    parts = found.module.split(".")
    if parts[0] != "modelexport":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "api"


def users(library: str) -> list[Import]:
    return [found for found in ALL if found.module.split(".")[0] == library]


def test_imports_are_found_at_every_depth() -> None:
    source = """
import a
def f():
    from b import c
    importlib.import_module("d")
if TYPE_CHECKING:
    import e.f
"""
    found = [(one.module, one.lazy, one.typing) for one in imports("x.py", source)]
    assert found == [("a", False, False), ("b.c", True, False), ("d", True, False), ("e.f", False, True)]


def test_imports_point_one_way() -> None:
    wrong = [str(found) for found in ALL if (reached := target(found)) and reached not in MAY_IMPORT[room(found)]]
    assert wrong == []


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Sets of files that reach each other, each sorted (strongly connected components of more than one file)."""
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_edges_from((file, other) for file, others in edges.items() for other in others)
    return sorted(sorted(group) for group in networkx.strongly_connected_components(graph) if len(group) > 1)


def file_of(module: str) -> str | None:
    """The file of a module of ours, or of the module that a name is imported from; packages' own files left out."""
    parts = module.split(".")[1:] if module.startswith("modelexport.") else []
    for folder in ("", "api"):
        for length in (len(parts), len(parts) - 1):
            file = "/".join([*filter(None, [folder]), *parts[:length]]) + ".py"
            if length > 0 and (ROOT / file).is_file():
                return file
    return None


def test_no_circles() -> None:
    """Imports for type checkers and inside functions count: a circle that does not fail at run time is still one."""
    edges: dict[str, set[str]] = {}
    for found in ALL:
        other = file_of(found.module)
        if other is not None and other != found.file:
            edges.setdefault(found.file, set()).add(other)
    assert len(edges) > 100
    assert circles(edges) == [["ir/node.py", "ir/scope.py"]]  # a node knows its scope, a scope its nodes
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]


def test_files_are_found_by_module() -> None:
    assert file_of("modelexport.ir.node.Node") == "ir/node.py"
    assert file_of("modelexport.core.tag_utils") == "api/core/tag_utils.py"
    assert file_of("modelexport.ir.Graph") is None and file_of("onnx.helper") is None


def test_torch_stays_in_the_frontend() -> None:
    wrong = [
        str(found)
        for library in TORCH_FAMILY
        for found in users(library)
        if room(found) != "frontend" and not found.typing and not (room(found) == "api" and found.lazy)
        if not (library == "onnxscript" and found.lazy and found.file.startswith("passes/tools/"))
    ]
    assert wrong == []


def test_networkx_stays_in_the_ir() -> None:
    assert [str(found) for found in users("networkx") if room(found) != "ir"] == []


def test_onnxruntime_stays_where_models_run() -> None:
    rooms = ("passes/running/", "passes/tools/")
    assert [str(found) for found in users("onnxruntime") if not found.file.startswith(rooms) or not found.lazy] == []


def test_graphsurgeon_has_one_user() -> None:
    assert {found.file for found in users("onnx_graphsurgeon")} <= {"ir/proto/surgeon.py"}


@pytest.mark.parametrize("package", ["ir", "passes", "analysis", "views", "cli", "core", "strategies"])
def test_modules_import_without_any_extra(package: str) -> None:
    """What an install without extras has: every module of these packages must still import."""
    code = f"""
import importlib, pkgutil, sys
for missing in ("torch", "transformers", "onnxscript", "onnxruntime", "onnxslim", "joblib", "distributed", "dask"):
    sys.modules[missing] = None
import modelexport.{package} as package
for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(info.name)
"""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
