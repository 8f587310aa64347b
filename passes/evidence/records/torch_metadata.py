"""Module stacks that torch's and onnxscript's exporters record in node metadata.

torch.onnx (dynamo) writes ``pkg.torch.onnx.name_scopes`` and ``pkg.torch.onnx.class_hierarchy``: Python lists of
strings of equal length, absolute dotted paths from the root on, the last entry being the fx node. onnxscript's builder
writes ``pkg.onnxscript.*`` with local names and no last entry. ``namespace`` spells torch's stack as
``path: class/path: class``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from modelexport.ir.io.embedded_tags import CLASS_HIERARCHY, NAME_SCOPES, NAMESPACE
from modelexport.ir.modules import Module, ModuleTable
from modelexport.ir.modules.module import MAX_DEPTH, is_path

SCRIPT_SCOPES = "pkg.onnxscript.name_scopes"
SCRIPT_CLASSES = "pkg.onnxscript.class_hierarchy"

_PLAIN = re.compile(r"'[A-Za-z0-9_.:]*'\]")  # an entry that needs no parsing, and the end of the list
MAX_LENGTH = 64 * 1024  # characters of one record
_KEYS: dict[str, str] = {
    "torch-name-scopes": NAME_SCOPES,
    "onnxscript-name-scopes": SCRIPT_SCOPES,
    "namespace-scopes": NAMESPACE,
    "namespace": NAMESPACE,
}
FAKE_STACK = "_empty_nn_module_stack_from_metadata_hook"


class MalformedRecord(ValueError):
    """A record that is not what its exporter writes; it is ignored and counted."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The modules that were active, outermost first: absolute paths, classes ("" where unknown), and the rule."""

    paths: tuple[str, ...]
    classes: tuple[str, ...]
    rule: str

    @property
    def key(self) -> str:
        """The metadata key that the rule reads."""
        return _KEYS[self.rule]

    @property
    def path(self) -> str:
        """Path of the innermost module."""
        return self.paths[-1] if self.paths else ""


def read_stack(metadata: Mapping[str, str]) -> Stack | None:
    """The strongest stack recorded in ``metadata``; None when there is none or it is torch's placeholder.

    Raises:
        MalformedRecord: a record of these keys is too long, not a list of strings, or not a dotted path.
    """
    scopes = metadata.get(NAME_SCOPES)
    if scopes is not None:
        return _torch_stack(_strings(scopes), _strings(metadata.get(CLASS_HIERARCHY, "[]")))
    scopes = metadata.get(SCRIPT_SCOPES)
    if scopes is not None:
        return _script_stack(_strings(scopes), _strings(metadata.get(SCRIPT_CLASSES, "[]")))
    return None


def stack_key(metadata: Mapping[str, str]) -> str | None:
    """Equal for nodes with equal stacks, without parsing them: the records less their last entry, the node itself.

    None where there is no record of a stack.
    """
    scopes = metadata.get(NAME_SCOPES)
    if scopes is not None:
        return f"{_but_last(scopes)}\n{_but_last(metadata.get(CLASS_HIERARCHY, ''))}"
    scopes = metadata.get(SCRIPT_SCOPES)
    return None if scopes is None else f"{scopes}\n{metadata.get(SCRIPT_CLASSES, '')}\n"


def _but_last(record: str) -> str:
    """``record`` up to its last entry, where that is a plain string; else all of it."""
    cut = record.rfind(", ")
    return record[:cut] if cut > 0 and _PLAIN.fullmatch(record, cut + 2) is not None else record


def read_namespace(namespace: str) -> Stack | None:
    """The stack that a ``namespace`` record spells; None for an empty one or torch's placeholder."""
    if len(namespace) > MAX_LENGTH:
        raise MalformedRecord("namespace is too long")
    segments = [segment for segment in namespace.split("/") if segment]
    if not segments or len(segments) > MAX_DEPTH:
        return None
    pairs = [segment.partition(": ") for segment in segments]
    if all(colon for _, colon, _ in pairs):
        return _torch_stack([name for name, _, _ in pairs], [cls for _, _, cls in pairs], rule="namespace-scopes")
    if len(segments) == 1 and pairs[0][1]:
        return None
    plain = [segment.strip() for segment in segments]
    paths = tuple(".".join(plain[: depth + 1]) for depth in range(len(plain)))
    return Stack(tuple(map(_checked, paths)), ("",) * len(paths), "namespace")


def _torch_stack(scopes: list[str], classes: list[str], rule: str = "torch-name-scopes") -> Stack | None:
    if len(classes) != len(scopes):
        classes = [""] * len(scopes)
    if len(scopes) < 2 or FAKE_STACK in scopes[0] or FAKE_STACK in classes[0]:
        return None  # only the fx node, or a node made by a graph hook: no module is recorded
    paths = tuple(_checked(scope) for scope in scopes[:-1])
    if any(FAKE_STACK in path for path in paths):
        return None
    return Stack(paths, tuple(_class(cls) for cls in classes[:-1]), rule)


def _script_stack(scopes: list[str], classes: list[str]) -> Stack | None:
    if not scopes:
        return None
    if len(classes) != len(scopes):
        classes = [""] * len(scopes)
    paths: list[str] = []
    for scope in scopes:
        head = paths[-1] if paths else ""
        local = _checked(scope)
        joined = f"{head}.{local}" if head and local else head or local
        # A stack may also spell absolute paths: a scope that repeats its parent is one.
        paths.append(local if head and local.startswith(head + ".") else joined)
    return Stack(tuple(paths), tuple(map(_class, classes)), "onnxscript-name-scopes")


def _strings(record: str) -> list[str]:
    if len(record) > MAX_LENGTH:
        raise MalformedRecord("record is too long")
    stripped = record.strip()
    if not stripped.startswith("[") or stripped.count("[") > MAX_DEPTH or stripped.count("(") > MAX_DEPTH:
        raise MalformedRecord("record is not a list")
    try:
        value = ast.literal_eval(stripped)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise MalformedRecord("record is not a Python list") from error
    if not isinstance(value, list) or len(value) > MAX_DEPTH or not all(isinstance(item, str) for item in value):
        raise MalformedRecord("record is not a list of strings")
    return value


def _checked(path: str) -> str:
    if not is_path(path):
        raise MalformedRecord("record is not a dotted path")
    return path


def _class(name: str) -> str:
    return name if name.isprintable() and len(name) <= 512 else ""


def declare(modules: ModuleTable, path: str, cls: str) -> None:
    """Tell ``modules`` of a module that was active, and so is called."""
    path = modules.canonical(path)
    module = modules.get(path)
    if module is None:
        modules.add(Module(path, cls))
    elif cls and not module.cls:
        module = replace(module, cls=cls, calls=max(1, module.calls), class_name="")
        modules.add(module)
    elif not module.calls:
        module.calls = 1
        modules.touch()
