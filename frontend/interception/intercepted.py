"""One export that somebody else started: what is seen of it, and how it is tagged.

Light to import: what reads and writes graphs is imported when the first export is tagged, under guard.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from modelexport.frontend.interception.record import MEMORY, STREAM, Export, reason

if TYPE_CHECKING:
    import onnx

    from modelexport.frontend.interception.client import Client, Once
    from modelexport.frontend.interception.splicing import Piece
    from modelexport.frontend.torch.fx_marks import FxMarks
    from modelexport.frontend.torch.scopes import ScopeCapture
    from modelexport.frontend.trace.watching import Watch
    from modelexport.ir.model import Model

# Frames of ours while a model runs are in these folders; torch writes frames into doc strings with verbose=True.
_FRAMES = tuple(
    f"{Path(__file__).parents[1] / folder}{os.sep}" for folder in ("torch", "trace", "interception")
)  # as code objects name them


class Intercepted:
    """One export, from its begin to its end. It belongs to the thread that exports.

    Attributes:
        record: what clients are told.
        written: whether torch has written the file.
    """

    def __init__(self, exporter: str, model: Any, clients: Sequence[Client]) -> None:
        self.record = Export(exporter=exporter, model=_class_name(model))
        self.written = False
        self._model = model
        self._clients = clients
        self._graph: Model | None = None
        self._watch: Watch | None = None
        self._scopes: ScopeCapture | None = None
        self._marks: FxMarks | None = None
        self._standing = ExitStack()

    @contextmanager
    def guarded(self, once: Once | None = None) -> Iterator[None]:
        """What fails inside is a failure of ours and noted, unless torch's own function failed."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the program goes on as without us; it is told as the reason
            if once is not None and once.error is not None:
                raise once.error from None
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """It stays plain; the first failure is the reason."""
        if self.record.error is None:
            self.record.error = reason(error)
            self.record.trace = "".join(traceback.format_exception(error))
        self._graph = None

    def goes_to(self, f: Any) -> None:
        """The file that torch was given."""
        if isinstance(f, (str, os.PathLike)):
            self.record.path = self.record.where = os.fsdecode(f)
        else:
            self.record.where = MEMORY if f is None else STREAM

    # While torch runs the model

    def watch(self) -> None:
        """Begin to watch module calls."""
        if isinstance(self._model, torch.nn.Module):
            from modelexport.frontend.trace.watching import watching

            self._watch = self._standing.enter_context(watching(self._model, operators=False))
            if self.record.exporter == "dynamo":
                from modelexport.frontend.torch.fx_marks import FxMarks
                from modelexport.frontend.trace.naming import ModuleNames

                self._marks = FxMarks(ModuleNames(self._model))
                self._standing.enter_context(self._marks.installed())

    def map_modules(self, once: Once, model: Any, *args: Any, **kwargs: Any) -> Any:
        """torch's own map of modules to scopes, with the scopes named so that we know them again."""
        from modelexport.frontend.torch.scopes import MAP_HOOK, NAME_HOOK, ScopeCapture
        from modelexport.frontend.trace.naming import ModuleNames
        from modelexport.ir.errors import ExportError

        self.watch()
        self._scopes = ScopeCapture(ModuleNames(model))
        self._standing.enter_context(self._scopes.installed())
        lost = {MAP_HOOK, NAME_HOOK} & {*self._scopes.missing}
        if lost:
            raise ExportError(f"torch {torch.__version__} has no {' and no '.join(sorted(lost))}")
        return self._scopes._map_modules(once, model, *args, **kwargs)

    def close(self) -> None:
        """Put back what stood in torch."""
        with self.guarded():
            self._standing.close()

    # When the graph is there

    def tagged_bytes(self, data: bytes) -> list[Piece] | None:
        """The serialized model with tags, in pieces; None where it stays plain."""
        if self.record.error is not None:
            return None
        import onnx

        from modelexport.frontend.interception.splicing import Lightened
        from modelexport.ir.io.writer import to_bytes

        light = Lightened(data) if self._annotates_only() else None
        proto = light.proto if light is not None else onnx.ModelProto.FromString(data)
        _drop_frames(proto)
        graph = self._tag(proto, self._scopes.paths if self._scopes is not None else {})
        tagged = to_bytes(graph)
        pieces: list[Piece] = light.spliced(tagged) if light is not None else [tagged]
        self._is_tagged(graph)
        return pieces

    def tag_program(self, program: Any) -> None:
        """Put tags on the nodes of an ONNXProgram."""
        from modelexport.frontend.interception.programs import carry_metadata, remove_marks, without_weights
        from modelexport.frontend.torch.dynamo import unrecorded_paths

        marks = remove_marks(program) if self._marks is not None else {}
        if self.record.error is not None:
            return
        from modelexport.ir.io.overlay import assemble

        with ExitStack() as stack:
            if self._annotates_only():
                stack.enter_context(without_weights(program.model))
            proto = program.model_proto
        graph = self._tag(proto, {**unrecorded_paths(proto, program.exported_program), **marks})
        carry_metadata(assemble(graph), program.model)
        self._is_tagged(graph)

    def end(self) -> None:
        """The export has ended well: tell the clients."""
        for client in reversed(self._clients):
            client.ended(self.record, self._graph)
        self._model = self._graph = None
        self._clients = ()

    def _annotates_only(self) -> bool:
        from modelexport.frontend.export.pipelines import Plan

        return Plan(self._clients[-1].pipeline).annotates_only

    def _tag(self, proto: onnx.ModelProto, paths: Any) -> Model:
        from modelexport.frontend.export.attributing import Evidence, apply_scopes
        from modelexport.frontend.torch.owners import WeightOwners
        from modelexport.frontend.trace.naming import ModuleNames, scripted_modules
        from modelexport.frontend.trace.seen import seen, unwatched
        from modelexport.ir.io.reader import from_proto
        from modelexport.ir.limits import check_memory, memory_limit_mb
        from modelexport.passes.pipeline.base import PassContext
        from modelexport.passes.pipeline.manager import PassManager

        limit = memory_limit_mb()
        check_memory(limit, "after the export")
        path = Path(self.record.path) if self.record.path is not None else None
        graph = from_proto(proto, path, path.name if path is not None else self.record.where)
        if isinstance(self._model, torch.nn.Module):
            modules = seen(self._model, self._watch) if self._watch is not None else unwatched(self._model)
            graph.modules = modules.modules
            names = ModuleNames(self._model)
            called = tuple(self._marks.called) if self._marks is not None else ()
            scripted = scripted_modules(names)
            functions = self._scopes.functions if self._scopes is not None else {}
            owners = WeightOwners(names)
            if self._scopes is None:
                evidence = Evidence(paths, called, owners, scripts=scripted)
            else:
                evidence = Evidence(paths, (*called, *scripted), owners, not scripted, functions, self._scopes.closed)
            apply_scopes(graph, evidence)
        else:
            apply_scopes(graph, Evidence(paths))
        checked = not self._annotates_only()  # what only annotates is tested well enough to be spared the time
        context = PassContext(memory_limit_mb=limit)
        PassManager(self._clients[-1].pipeline, verify_each=checked, context=context).run(graph)
        return graph

    def _is_tagged(self, graph: Model) -> None:
        from modelexport.ir.attribution import Source

        counts = dict.fromkeys((str(source) for source in Source), 0)
        for node in graph.nodes():
            self.record.nodes += 1
            if node.attribution is not None:
                counts[str(node.attribution.source)] += 1
        self.record.by_source = {source: count for source, count in counts.items() if count}
        self.record.tagged = True
        self._graph = graph


def _class_name(model: Any) -> str:
    if isinstance(model, torch.jit.ScriptModule):
        return str(getattr(model, "original_name", "") or type(model).__name__)
    return type(model).__name__


def _drop_frames(proto: onnx.ModelProto) -> None:
    """Take the lines of our own frames out of doc strings."""
    from modelexport.frontend.export.result import nodes_of

    for node in nodes_of(proto):
        if node.doc_string and any(folder in node.doc_string for folder in _FRAMES):
            lines = node.doc_string.splitlines(keepends=True)
            node.doc_string = "".join(line for line in lines if not line.startswith(_FRAMES))
