"""Which module call every node of a torch.export graph was made in, seen from the Python stack when it is made.

torch keeps a module stack for each node, and loses it where a graph is traced again: bodies of higher-order operators
(no_grad and autocast regions, checkpoints, nested compile regions) get the stack of the operator's call, branches of
torch.cond and bodies of loops get none. So each node is marked when it is made, by what is running:

- a module call: the stack of ``Module.__call__`` frames says which modules, and from where;
- a graph that is traced again: the mark of the node that is being run, found in the frame that runs it;
- a graph that dynamo made (branches, compiled regions): dynamo's own module stack, whose entries are expressions over
  the arguments of the compiled function. They are looked up in the arguments of this very call: a compiled graph is
  used again for other modules of one class.

Marks travel from the graph into the ONNX nodes as metadata of ours, beside what torch writes and through its
optimiser, and are taken out again; nothing of torch's is changed.
"""

from __future__ import annotations

import inspect
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import onnx
import torch
import torch.fx

from modelexport.frontend.torch.scopes import has_point, replaced
from modelexport.frontend.trace.naming import ModuleNames
from modelexport.frontend.trace.watching import bare

KEY = "modelexport.called-in"
NODE_HOOK = "_set_node_metadata"
_CALL_CODE = torch.nn.Module._wrapped_call_impl.__code__
_STEP = re.compile(r"""\[(['"])(?P<key>.*?)\1\]|\[(?P<index>\d+)\]|\.(?P<attribute>[^.\[]+)""")
_DEEPEST = 2000  # frames that are looked at


class FxMarks:
    """Marks the nodes that one thread makes.

    Attributes:
        called: paths of the modules that were seen running, by calls or by dynamo.
        missing: names of the hook points that this torch does not have; without them nothing is marked.
    """

    def __init__(self, names: ModuleNames) -> None:
        self.names = names
        self.called: dict[str, None] = {}
        self.missing: list[str] = []
        self._thread = threading.get_ident()
        self._paths: dict[tuple[int, ...], str] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Mark meanwhile; everything is put back afterwards."""
        from torch.onnx._internal.exporter import _core

        if not has_point(_core, NODE_HOOK):
            self.missing.append(NODE_HOOK)
            yield
            return
        with ExitStack() as stack:
            stack.enter_context(replaced(torch.fx.Graph, "create_node", self._make))
            stack.enter_context(replaced(_core, NODE_HOOK, self._write))
            yield

    def _make(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        node = original(*args, **kwargs)
        if node.op in ("call_function", "call_module", "call_method") and threading.get_ident() == self._thread:
            path = self._running(sys._getframe(2))
            if path is not None:
                node.meta[KEY] = path
        return node

    def _write(self, original: Any, fx_node: Any, ir_node: Any) -> Any:
        result = original(fx_node, ir_node)
        path = fx_node.meta.get(KEY)
        if path is not None:
            ir_node.metadata_props[KEY] = path
        return result

    def _running(self, frame: FrameType | None) -> str | None:
        """Path of the module that is running, seen from ``frame``; None where nothing says."""
        graph_nodes: list[torch.fx.Node] = []
        modules: list[torch.nn.Module] = []
        entry: FrameType | None = None  # the outermost call of a compiled function
        for _ in range(_DEEPEST):
            if frame is None:
                break
            code = frame.f_code
            if code is _CALL_CODE:
                module = bare(frame.f_locals["self"])
                if module in self.names.paths:
                    modules.append(module)
            elif code.co_name == "compile_wrapper" and not modules:
                entry = frame
            elif code.co_filename.endswith("symbolic_convert.py"):
                return None  # dynamo is making a graph of its own
            elif not modules:
                node = _graph_node(frame)
                if node is not None:
                    mark = node.meta.get(KEY)
                    if mark is not None:
                        return str(mark)
                    graph_nodes.append(node)
            frame = frame.f_back
        path = self._path(modules)
        for node in graph_nodes:
            stack = _dynamo_stack(node)
            if stack and entry is not None:
                return self._below(path or "", stack, entry)
        return path

    def _path(self, modules: list[torch.nn.Module]) -> str | None:
        """Path of the first of ``modules``, which are calls from the innermost one out."""
        if not modules:
            return None
        key = tuple(map(id, modules))
        if key not in self._paths:
            path = ""
            for module in reversed(modules):
                path = self.names.called(module, path) or path
                self.called[path] = None
            self._paths[key] = path
        return self._paths[key]

    def _below(self, path: str, stack: list[str], entry: FrameType) -> str:
        """Path of the module at the end of dynamo's ``stack`` in a function that ``path`` called compiled."""
        local = _arguments(entry)
        for source in stack:
            module = _looked_up(source, local)
            name = self.names.called(bare(module), path) if isinstance(module, torch.nn.Module) else None
            if name is None:
                held = f"{path}.{_attributes(source)}".strip(".")
                name = held if self.names.at(held) is not None else None
            path = name or path
            self.called[path] = None
        return path


def take_marks(proto: onnx.ModelProto) -> dict[str, str]:
    """Take our marks out of the nodes at every depth: path by output."""
    found: dict[str, str] = {}
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        _take(nodes, found)
    return found


def _take(nodes: Any, found: dict[str, str]) -> None:
    for node in nodes:
        for position, entry in enumerate(node.metadata_props):
            if entry.key == KEY:
                found.update((output, entry.value) for output in node.output if output)
                del node.metadata_props[position]
                break
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _take(attribute.g.node, found)
            for body in attribute.graphs:
                _take(body.node, found)


def _graph_node(frame: FrameType) -> torch.fx.Node | None:
    """The node that ``frame`` is running: of an interpreter, or of the code of a graph module."""
    code = frame.f_code
    if code.co_name == "run_node":
        node = frame.f_locals.get("n")
        return node if isinstance(node, torch.fx.Node) else None
    if code.co_name == "forward":
        module = frame.f_locals.get("self")
        if isinstance(module, torch.fx.GraphModule):
            lines: dict[int, int | None] = getattr(module, "_lineno_map", None) or {}
            position = lines.get(frame.f_lineno - code.co_firstlineno)  # lines are counted from the def
            if position is not None:
                return next((node for i, node in enumerate(module.graph.nodes) if i == position), None)
    return None


def _dynamo_stack(node: torch.fx.Node) -> list[str]:
    """The modules of dynamo's stack as it names them: expressions over the locals of the compiled function."""
    entries = (node.meta.get("nn_module_stack") or {}).values()
    sources = [str(entry[0]) for entry in entries if isinstance(entry, tuple)]
    return [source for source in sources if source.startswith("L[")]


def _arguments(entry: FrameType) -> dict[str, Any]:
    """The locals that a compiled function began with."""
    function = entry.f_locals.get("fn")
    args, kwargs = entry.f_locals.get("args", ()), entry.f_locals.get("kwargs", {})
    try:
        return dict(inspect.signature(function).bind(*args, **kwargs).arguments) if function is not None else {}
    except (TypeError, ValueError):
        return {}


def _looked_up(source: str, local: dict[str, Any]) -> Any:
    """The object that dynamo's name for it stands for; None where it can't be found.

    A name is ``L``, the locals, with keys (``['args'][1]``) and attributes behind; a submodule's may be a number.
    """
    value: Any = local
    position = 1
    try:
        while position < len(source):
            step = _STEP.match(source, position)
            if step is None:
                return None
            position = step.end()
            if step["key"] is not None:
                value = value[step["key"]]
            elif step["index"] is not None:
                value = value[int(step["index"])]
            else:
                owner = bare(value) if isinstance(value, torch.nn.Module) else value
                held = getattr(owner, "_modules", None)
                atom = step["attribute"]
                value = held[atom] if isinstance(held, dict) and atom in held else getattr(owner, atom)
    except (LookupError, AttributeError, TypeError):
        return None
    return value


def _attributes(source: str) -> str:
    """The dotted attributes at the end of an expression."""
    return source.rpartition("]")[2].strip(".").removeprefix("cell_contents").strip(".")
