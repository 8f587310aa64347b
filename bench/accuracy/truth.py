"""Exports with ground truth: which module is every node from?

Built apart from the code under test. TorchScript: every node's full scope is read in the exporter's last pass, the
module map having been set to full dotted names. torch.export: ``pkg.torch.onnx.name_scopes`` of the node. Constants
without a scope take the one scope that all their readers have. The path is the innermost module whose ``__call__`` was
active, under the name by which its caller holds it; operators of forward hooks belong to the hooked module where the
exporter tells them apart.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import torch

FAKE = "_empty_nn_module_stack_from_metadata_hook"
OPSET = 17


def names_of_calls(model: torch.nn.Module) -> Callable[[torch.nn.Module, str], str | None]:
    """A function of a module and its caller's path: the name that the call goes by, None for a module without any.

    It is the name by which the caller holds the module, the first of those with the fewest modules on the way that can
    be called themselves. Where the caller does not hold it, it is its first name in the model.
    """
    names: dict[int, list[str]] = {}
    forwards: dict[str, bool] = {}

    def walk(module: torch.nn.Module, path: str, above: tuple[int, ...]) -> None:
        names.setdefault(id(module), []).append(path)
        forwards[path] = type(module).forward is not torch.nn.Module.forward
        for name, child in module._modules.items():
            if child is not None and id(child) not in (*above, id(module)):
                walk(child, f"{path}.{name}".lstrip("."), (*above, id(module)))

    def between(path: str, caller: str) -> int:
        atoms = path.split(".")
        own = len(caller.split(".")) if caller else 0
        return sum(forwards[".".join(atoms[:end])] for end in range(own + 1, len(atoms)))

    def called(module: torch.nn.Module, caller: str) -> str | None:
        mine = names.get(id(module))
        if mine is None:
            return None
        held = [path for path in mine if not caller or path.startswith(caller + ".")]
        return min(held, key=lambda path: between(path, caller)) if held else mine[0]

    walk(model, "", ())
    return called


def by_any_name(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Modules by each of their names."""
    return dict(model.named_modules(remove_duplicate=False))


def positional(model: torch.nn.Module, example: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The TorchScript exporter flattens keyword arguments: give the instance an explicit positional forward."""
    original, names = model.forward, list(example)
    source = f"lambda {', '.join(names)}: original({', '.join(f'{n}={n}' for n in names)})"
    model.forward = eval(source, {"original": original})
    return tuple(example.values())


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """The TorchScript exporter prints graphs to the process's stdout when it fails."""
    with tempfile.TemporaryFile() as sink:
        held = os.dup(1)
        os.dup2(sink.fileno(), 1)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                yield
        finally:
            os.dup2(held, 1)
            os.close(held)


def torchscript(
    model: torch.nn.Module, example: dict[str, torch.Tensor], target: Path, opset: int = OPSET
) -> dict[str, str]:
    """Export with a dynamic batch; truth by first output name."""
    import torch.onnx._internal.torchscript_exporter.utils as utils

    names = dict(model.named_modules())
    called, modules = names_of_calls(model), by_any_name(model)
    scopes: dict[str, str] = {}
    assign = torch._C._jit_pass_onnx_assign_scoped_names_for_node_and_value
    setup = utils._setup_trace_module_map

    def assign_and_read(graph: Any) -> None:
        assign(graph)
        for node in every_node(graph):
            for output in node.outputs():
                frame = re.search(r"truth_hook_(\d+)", node.sourceRange())
                scope = node.scopeName()
                scopes[output.debugName()] = f"{scope}/@{hooks[int(frame[1])]}@" if frame else scope

    def setup_full(*args: Any, **kwargs: Any) -> Any:
        result = setup(*args, **kwargs)
        full = torch._C._jit_onnx_create_full_scope_name
        torch.jit._trace._trace_module_map = {m: full("M", f"@{name}@") for name, m in names.items()}
        return result

    args = positional(model, example)
    hooks = mark_hooks(model)
    try:
        # Scopes are read from an export with full names; the file is the export that users get.
        torch._C._jit_pass_onnx_assign_scoped_names_for_node_and_value = assign_and_read
        utils._setup_trace_module_map = setup_full
        full = export_script(model, args, example, target, opset)
        torch._C._jit_pass_onnx_assign_scoped_names_for_node_and_value = assign
        utils._setup_trace_module_map = setup
        plain = export_script(model, args, example, target, opset)
    finally:
        torch._C._jit_pass_onnx_assign_scoped_names_for_node_and_value = assign
        utils._setup_trace_module_map = setup
        del model.forward
    truth: dict[str, str | None] = {}
    pairs = list(zip(nodes_of(full.graph), nodes_of(plain.graph), strict=True))
    for theirs, ours in pairs:
        assert theirs.op_type == ours.op_type
        found = re.findall(r"@([^@]*)@", scopes.get(theirs.output[0], ""))
        path = ""
        for name in found:
            path = called(modules[name], path) or path
        truth[ours.output[0]] = path if scopes.get(theirs.output[0]) else None
    return unanimous(plain, truth)


def mark_hooks(model: torch.nn.Module) -> list[str]:
    """Wrap every forward hook in a function that names it, so that its operators can be told from the caller's."""
    owners: list[str] = []
    for name, module in model.named_modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key, hook in hooks.items():
                code = f"def truth_hook_{len(owners)}(*args): return hook(*args)"
                space: dict[str, Any] = {"hook": hook}
                exec(code, space)
                hooks[key] = space[f"truth_hook_{len(owners)}"]
                owners.append(name)
    return owners


def export_script(
    model: torch.nn.Module,
    args: tuple[torch.Tensor, ...],
    example: dict[str, torch.Tensor],
    target: Path,
    opset: int = OPSET,
) -> onnx.ModelProto:
    with silent():
        torch.onnx.export(
            model,
            args,
            str(target),
            dynamo=False,
            opset_version=opset,
            input_names=list(example),
            dynamic_axes={name: {0: "batch"} for name in example},
        )
    return onnx.load(target)


def dynamo(
    model: torch.nn.Module, example: dict[str, torch.Tensor], raw: Path, optimised: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Export with a dynamic batch, as it comes out and after torch's own optimiser; truths by first output name."""
    called, modules = names_of_calls(model), by_any_name(model)
    batch = torch.export.Dim.AUTO
    truths = []
    for target, optimise in ((raw, False), (optimised, True)):
        with silent():
            program = torch.onnx.export(
                model,
                (),
                kwargs=dict(example),
                dynamo=True,
                optimize=optimise,
                dynamic_shapes={name: {0: batch} for name in example},
                verbose=False,
            )
            assert program is not None
            program.save(str(target))
        proto = onnx.load(target)
        truth = {}
        for node in nodes_of(proto.graph):
            meta = {entry.key: entry.value for entry in node.metadata_props}
            scopes = ast.literal_eval(meta.get("pkg.torch.onnx.name_scopes", "[]"))
            fine = len(scopes) >= 2 and FAKE not in str(meta.get("pkg.torch.onnx.class_hierarchy", "")) + scopes[-2]
            path: str | None = "" if fine else None
            for name in scopes[:-1] if fine else ():
                path = called(modules[name], path or "") or path if name in modules else None
                if path is None:
                    break
            truth[node.output[0]] = path
        truths.append(unanimous(proto, truth))
    return truths[0], {**truths[1], **{value: owner for value, (_, owner) in folded(onnx.load(optimised)).items()}}


def folded(proto: onnx.ModelProto) -> dict[str, tuple[str, str]]:
    """Of what torch's optimiser folded a BatchNorm into, by first output: the module it records, and the weight's own.

    The convolution is its weight's module's, as it is with the TorchScript exporter.
    """
    found = {}
    for node in nodes_of(proto.graph):
        meta = {entry.key: entry.value for entry in node.metadata_props}
        if "FuseBatchNorm" in meta.get("pkg.onnxscript.rewriter.rule_name", ""):
            scopes = ast.literal_eval(meta["pkg.torch.onnx.name_scopes"])
            found[node.output[0]] = scopes[-2], node.input[1].rpartition(".")[0]
    return found


def unanimous(proto: onnx.ModelProto, truth: dict[str, str | None]) -> dict[str, str]:
    """Fill holes with the one module that all readers have; what stays open is left out."""
    readers: dict[str, list[str]] = {}
    for node in nodes_of(proto.graph):
        for value in node.input:
            readers.setdefault(value, []).append(node.output[0])
    for node in reversed(list(nodes_of(proto.graph))):
        if truth[node.output[0]] is None:
            paths = {truth[reader] for value in node.output for reader in readers.get(value, ())}
            if len(paths) == 1:
                truth[node.output[0]] = paths.pop()
    return {value: path for value, path in truth.items() if path is not None}


def after_optimiser(before: onnx.ModelProto, after: onnx.ModelProto, truth: dict[str, str]) -> dict[str, str]:
    """Truth of an optimised graph: that of the surviving output name, where the node's name does not say otherwise.

    A product that onnxruntime fused with its activation is called ``fused /fc/Gemm`` after the product. Where its
    output has no scope in its name, as an output of the graph, that name is the only record: the node is the product's.
    """
    by_node = {node.name: truth.get(node.output[0]) for node in nodes_of(before.graph) if node.name}
    kept = {}
    for node in nodes_of(after.graph):
        if not node.output:
            continue
        path = truth.get(node.output[0])
        named = by_node.get(node.name)
        if node.name.startswith("fused /") and not node.output[0].startswith("/"):
            path = by_node.get(node.name.removeprefix("fused "))
        if path is not None and (named is None or named == path):
            kept[node.output[0]] = path
    return kept


def undefined(proto: onnx.ModelProto) -> str:
    """A value of the main graph that is read and that nothing makes, or "" in a valid model."""
    graph = proto.graph
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    for node in graph.node:
        lost = set(node.input) - known
        if lost:
            return lost.pop()
        known.update(node.output)
    return ""


def every_node(graph: Any) -> Iterator[Any]:
    for node in graph.nodes():
        yield node
        for block in node.blocks():
            yield from every_node(block)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, each before those of its bodies."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)
            for body in attribute.graphs:
                yield from nodes_of(body)
