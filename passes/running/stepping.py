"""A run of a main graph in steps: a chunk of nodes at a time, so that memory stays bounded and values can be put in.

Each chunk becomes a small model whose outputs are all values its nodes make. Values that later nodes read are kept,
everything else is the caller's. The length of a chunk follows from the sizes of its values where these are known, else
from those of the chunk before. A chunk that can't be run is halved until the nodes at fault are alone; their values,
and all that is computed from them, stay unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from modelexport.ir.arrays import Array
from modelexport.ir.editing.topology import in_order
from modelexport.ir.io.overlay import assemble
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import shown, text
from modelexport.passes.evidence.values.initializers import Initializers
from modelexport.passes.running.session import (
    SessionSettings,
    as_ort_value,
    onnxruntime,
    options,
    reason,
    run_errors,
    value_info,
)

_FIRST, _LONGEST = 32, 512  # nodes
_EMBED = 1 << 16  # initializers up to this many bytes are put into the chunk's model, larger ones are fed
_OWN = "\N{SECTION SIGN}own"  # follows the name of a value that is computed where another one is put in


@dataclass(slots=True)
class RunReport:
    """What could not be run, by operator type, with the first message for each."""

    nodes: int = 0
    unknown: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """The first failure; "" where all nodes ran."""
        return next((f"{op_type}: {why}" for op_type, why in self.failures.items()), "")


class SteppedRun:
    """See the module.

    Args:
        model: its main graph is run.
        feeds: values of its inputs, arrays or OrtValues.
        chunk_bytes: about how many bytes the values of one chunk may have.
        sizes: bytes of values where they are known.
        settings: of the sessions.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(
        self,
        model: Model,
        feeds: Mapping[str, Any],
        *,
        chunk_bytes: int = 256 << 20,
        sizes: Mapping[str, int] | None = None,
        settings: SessionSettings | None = None,
        what: str = "running a model",
    ) -> None:
        self.ort: Any = onnxruntime(what)
        self._errors = run_errors()
        self._settings = settings or SessionSettings()
        self.model, self.graph = model, model.main
        self._source = assemble(model)
        self._protos = dict(zip(model.main.nodes, self._source.graph.node, strict=True))
        self._chunk_bytes = max(chunk_bytes, 1 << 20)
        self._sizes = sizes or {}
        self._initializers = Initializers(model)
        self.order: Sequence[Node] = in_order(model.main)
        self.position = 0
        self._length = _FIRST
        self._readers: dict[str, int] = {}
        for node in self.order:
            for value in {*node.inputs, *node.captures}:
                self._readers[value] = self._readers.get(value, 0) + 1
        self.live: dict[str, Any] = {name: as_ort_value(array) for name, array in feeds.items()}
        self._typical = max(map(nbytes, self.live.values()), default=0)  # bytes of a value whose size is not known
        self.report = RunReport(nodes=len(self.order))
        names = [node.name for node in self.order if node.name]
        self._has_doubles = len(set(names)) < len(names)  # which onnxruntime refuses
        self._fails: dict[tuple[str, str], int] = {}

    @property
    def done(self) -> bool:
        """Whether all nodes were run."""
        return self.position >= len(self.order)

    def next_chunk(self) -> Sequence[Node]:
        """The nodes that the next step runs, as their sizes suggest."""
        length, size = 0, 0
        for node in self.order[self.position : self.position + self._length]:
            size += sum(self._sizes.get(value, self._typical) for value in node.outputs if value)
            if length and size > self._chunk_bytes:
                break
            length += 1
        return self.order[self.position : self.position + length]

    def step(self, nodes: Sequence[Node] | None = None, put_in: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run the next nodes; OrtValues of what they make, by name.

        Args:
            nodes: those of ``next_chunk`` unless given.
            put_in: values that readers get instead of what is computed; what is computed is returned all the same.
        """
        chunk = self.next_chunk() if nodes is None else nodes
        given = put_in or {}
        made: dict[str, Any] = {}
        size = self._run(chunk, given, made)
        for node in chunk:
            for value in {*node.inputs, *node.captures}:
                self._readers[value] -= 1
                if not self._readers[value]:
                    self.live.pop(value, None)
        for node in chunk:
            for value in node.outputs:
                if not self._readers.get(value):
                    self.live.pop(value, None)
        self.position += len(chunk)
        self._typical = size // len(chunk)
        fitting = int(self._chunk_bytes / max(size / len(chunk), 1.0))
        self._length = max(1, min(fitting, 2 * self._length, _LONGEST))
        return made

    def _run(self, nodes: Sequence[Node], given: Mapping[str, Any], made: dict[str, Any]) -> int:
        """Run ``nodes`` into ``made``; returns the bytes of their values."""
        ready: list[Node] = []
        known: set[str] = set(given)
        for node in nodes:
            reads = {value for value in (*node.inputs, *node.captures) if value}
            fine = all(v in known or v in self.live or v in self._initializers for v in reads)
            if fine and self._fails.get((node.domain, node.op_type), 0) < 2:
                ready.append(node)
                known.update(value for value in node.outputs if value)
            else:
                self._leave_out(node, reads)
        if not ready:
            return 0
        try:
            names, results = self._execute(ready, given)
        except self._errors as error:
            if len(ready) > 1:
                half = len(ready) // 2
                return self._run(ready[:half], given, made) + self._run(ready[half:], given, made)
            node = ready[0]
            self._fails[node.domain, node.op_type] = self._fails.get((node.domain, node.op_type), 0) + 1
            self.report.failures.setdefault(node.op_type, reason(error))
            self.report.unknown += 1
            return 0
        size = 0
        for name, value in zip(names, results, strict=True):
            self.live[name] = given.get(name, value)
            made[name] = value
            size += nbytes(value)
        return size

    def _leave_out(self, node: Node, reads: set[str]) -> None:
        self.report.unknown += 1
        for value in reads:
            if self.graph.producer(value) is None and value not in self.live and value not in self._initializers:
                self.report.failures.setdefault(node.op_type, f"reads {shown(value)!r}, which is not known")

    def _execute(self, nodes: Sequence[Node], given: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
        made = list(dict.fromkeys(value for node in nodes for value in node.outputs if value))
        inside = set(made).difference(given)
        reads = dict.fromkeys(v for node in nodes for v in (*node.inputs, *node.captures) if v and v not in inside)
        feeds: dict[str, Any] = {}
        inputs: list[onnx.ValueInfoProto] = []
        constants: list[onnx.TensorProto] = []
        for value in reads:
            held = given.get(value, self.live.get(value))
            if held is None:
                tensor = self._initializers.small(value, _EMBED)
                if tensor is not None:
                    constants.append(tensor)
                    continue
                held = as_ort_value(self._initializers.array(value))
            feeds[value] = held
            inputs.append(value_info(value, held))
        own = {value: f"{value}{_OWN}" if value in given else value for value in made}
        graph = onnx.GraphProto(name="chunk")
        graph.node.extend(self._proto(node, own) for node in nodes)
        if self._has_doubles:
            for node_proto in graph.node:
                node_proto.ClearField("name")
        graph.input.extend(inputs)
        graph.initializer.extend(constants)
        graph.output.extend(onnx.ValueInfoProto(name=own[value]) for value in made)
        model = onnx.ModelProto(ir_version=max(self._source.ir_version, 8), graph=graph)
        model.opset_import.extend(self._source.opset_import)
        model.functions.extend(self._source.functions)
        session = self.ort.InferenceSession(
            model.SerializeToString(), sess_options=options(self._settings), providers=list(self._settings.providers)
        )
        return made, session.run_with_ort_values([own[value] for value in made], feeds)

    def _proto(self, node: Node, own: Mapping[str, str]) -> onnx.NodeProto:
        proto = self._protos[node]
        if all(own.get(text(value), value) == value for value in proto.output):
            return proto
        renamed = onnx.NodeProto()
        renamed.CopyFrom(proto)
        renamed.output[:] = [own.get(text(value), value) for value in proto.output]
        return renamed


def nbytes(value: Any) -> int:
    """Bytes of an OrtValue's elements; 0 for what is no tensor."""
    if not value.has_value() or not value.is_tensor():
        return 0
    return int(value.tensor_size_in_bytes())


class Reader:
    """OrtValues as arrays; bfloat16 as float32."""

    def __init__(self) -> None:
        self.library = onnxruntime("running a model")
        self._errors = run_errors()

    def array(self, value: Any) -> Array | None:
        """The numbers of a value; None for what is no tensor of numbers, or of a type that NumPy lacks."""
        if not value.has_value() or not value.is_tensor():
            return None
        if value.data_type() == "tensor(bfloat16)":
            value = self.cast(value, onnx.TensorProto.FLOAT)
        try:
            array: Array = value.numpy()
        except self._errors:
            return None  # an element type NumPy does not have
        return array if array.dtype.kind in "biufc" else None

    def cast(self, value: Any, kind: int) -> Any:
        """A value as another element type, as ONNX's Cast does it."""
        node = onnx.helper.make_node("Cast", ["x"], ["y"], to=kind)
        graph = onnx.GraphProto(name="cast", node=[node], input=[value_info("x", value)])
        graph.output.append(onnx.helper.make_tensor_value_info("y", kind, None))
        proto = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 19)])
        made = options(SessionSettings())
        session = self.library.InferenceSession(
            proto.SerializeToString(), sess_options=made, providers=["CPUExecutionProvider"]
        )
        return session.run_with_ort_values(["y"], {"x": value})[0]
