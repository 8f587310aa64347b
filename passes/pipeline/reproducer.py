"""A failing pass, kept: the model as it was before that pass, and the command that fails again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from modelexport.ir.attribution import Attribution
from modelexport.ir.errors import ModelExportError
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.atomic import atomic_output
from modelexport.ir.io.reader import load_model
from modelexport.ir.io.writer import save_model, to_bytes
from modelexport.ir.model import Model
from modelexport.ir.modules import Module, ModuleTable
from modelexport.ir.node import Absent
from modelexport.passes.pipeline.base import Pass
from modelexport.passes.pipeline.options import options_of
from modelexport.passes.pipeline.run import Instrument, PassRun
from modelexport.passes.pipeline.text import Pipeline

RESTORE = "scope-attribution"  # the pass that reads back the attributions written into the file

_NodeState = tuple[Attribution | None, Mapping[str, str | None] | None, str | Absent | None]


class Reproducer(Instrument):
    """Writes ``path`` and ``path.sh`` when a pass fails.

    The file carries the attributions reached so far as our own metadata; the command restores them and runs the failing
    pass, preceded by the passes that establish what it requires.

    Args:
        path: the model file to write.
        arguments: more arguments of the command, such as ``--trace FILE``.

    Attributes:
        written: the files written; empty while nothing failed.
        problem: why they could not be written, or "".
    """

    def __init__(self, path: Path, arguments: Sequence[str] = ()) -> None:
        self.path = path
        self.script = path.with_name(path.name + ".sh")
        self.written: tuple[Path, ...] = ()
        self.problem = ""
        self._arguments = tuple(arguments)
        self._passes: tuple[Pass, ...] = ()
        self._nodes: list[_NodeState] = []
        self._patch: dict[str, str | None] = {}
        self._modules: list[Module] = []
        self._data: bytes | None = None

    def start(self, model: Model, pipeline: Pipeline) -> None:
        """Remember the pipeline."""
        self._passes = pipeline.passes

    def before(self, model: Model, run: PassRun) -> None:
        """Remember the state that the pass will see."""
        self._nodes = [(node.attribution, node.patch, node.doc_patch) for node in model.nodes()]
        self._patch = dict(model.patch)
        self._modules = list(model.modules)
        self._data = None if run.step.metadata_only else to_bytes(model)

    def failed(self, model: Model, run: PassRun, error: BaseException) -> None:
        """Write the files. A failure to write is kept in ``problem``, so that it does not hide ``error``."""
        if not isinstance(error, Exception):
            return
        try:
            self._write(model, run)
        except ModelExportError as problem:
            self.problem = str(problem)

    def _write(self, model: Model, run: PassRun) -> None:
        if self._data is None:
            for node, (_, patch, doc_patch) in zip(model.nodes(), self._nodes, strict=True):
                node.patch, node.doc_patch = patch, doc_patch
            model.patch = dict(self._patch)
            self._data = to_bytes(model)
        copy = load_model(self._data)
        copy.path, copy.data_home = model.path, model.data_home  # external data is found from here
        copy.gathers_data = model.gathers_data
        carried = self._carry(copy)
        save_model(copy, self.path)
        with atomic_output(self.script, mode=0o777) as stream:
            stream.write(os.fsencode(self._command(run, carried)))
        self.written = (self.path, self.script)

    def _carry(self, copy: Model) -> bool:
        """Write the attributions into the metadata of ``copy``; whether there are any."""
        table = ModuleTable(self._modules)
        attributions = [attribution for attribution, _, _ in self._nodes]
        for attribution in dict.fromkeys(attributions):
            if attribution is not None:
                table.ensure(attribution.path)
        tags = table.tags()
        patches: dict[Attribution, dict[str, str | None]] = {}
        for node, attribution in zip(copy.nodes(), attributions, strict=True):
            if attribution is None:
                continue
            patch = patches.get(attribution)
            if patch is None:
                values = (tags[attribution.path], attribution.path, attribution.source, attribution.rule)
                texts = (*map(str, values), repr(attribution.confidence))
                patch = patches[attribution] = dict(zip(embedded_tags.NODE_KEYS, texts, strict=True))
            node.patch_metadata(patch)
        if not patches:
            return False
        rows: list[list[object]] = [[each.path, each.cls, tags[each.path], each.calls] for each in table]
        tables = (f"{embedded_tags.MODULES}.", f"{embedded_tags.NODES}.")  # two tables would be two merged models
        copy.patch_metadata(
            {
                **{key: None for key in embedded_tags.own_keys(copy.metadata) if key.startswith(tables)},
                embedded_tags.MODULES: embedded_tags.pack("modules", rows),
                embedded_tags.NODES: embedded_tags.pack("nodes", []),
            }
        )
        return True

    def _command(self, run: PassRun, carried: bool) -> str:
        needed = set(run.step.requires)
        steps = [_absolute(run.step)]
        for step in reversed(self._passes[: run.index]):
            if not needed.isdisjoint(step.establishes):
                needed = (needed - step.establishes) | step.requires
                steps.insert(0, _absolute(step))
        if carried and RESTORE not in {step.partition("{")[0] for step in steps}:
            steps.insert(0, RESTORE)
        arguments = ["--passes", ",".join(steps), *self._arguments]
        name = shlex.quote(self.path.name)
        return (
            "#!/bin/sh\n"
            f"# {run.name} fails on the model beside this script.\n"
            f'exec "${{HTP_OPT:-htp-opt}}" "$(dirname "$0")"/{name} {shlex.join(arguments)} "$@"\n'
        )


def _absolute(step: Pass) -> str:
    """The pipeline element with files that are found from every folder."""
    files = {option.field: getattr(step, option.field) for option in options_of(type(step)) if option.is_path}
    found = {
        name: type(value)(os.path.abspath(value))
        for name, value in files.items()
        if value not in (None, "", ()) and not isinstance(value, tuple)
    }
    return str(replace(step, **found)) if found else str(step)
