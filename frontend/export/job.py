"""One export from start to end: trace, export, passes, files, result."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from modelexport.frontend.export.apart import Apart, set_apart
from modelexport.frontend.export.attributing import Evidence, apply_scopes
from modelexport.frontend.export.exported import Exported, ExporterName
from modelexport.frontend.export.pipelines import build_pipeline, has_onnxruntime
from modelexport.frontend.export.publish import publish, scratch_folder
from modelexport.frontend.export.result import Measurements, Saved, build_result, read_saved
from modelexport.frontend.export.steps import Steps
from modelexport.frontend.export.weights import write_embedded
from modelexport.frontend.inputs.example_inputs import Inputs, normalise, tensors_of
from modelexport.frontend.inputs.names import check_names
from modelexport.frontend.inputs.options import ExportOptions, read_environment, read_options
from modelexport.frontend.monitor.data import HTPExportStep
from modelexport.frontend.settings import Settings
from modelexport.frontend.torch.owners import WeightOwners
from modelexport.frontend.torch.reasons import first_line
from modelexport.frontend.torch.torch_internals import ready
from modelexport.frontend.trace.naming import ModuleNames
from modelexport.frontend.trace.seen import Seen, seen, unwatched
from modelexport.frontend.trace.watching import watching
from modelexport.ir.errors import (
    AuxiliaryOperationCrash,
    ContextInheritanceCrash,
    ExportError,
    InputError,
    OutputError,
    PassError,
)
from modelexport.ir.io.atomic import check_writable
from modelexport.ir.io.sidecar import sidecar_path, write_sidecar
from modelexport.ir.io.writer import save_model
from modelexport.ir.limits import check_memory, memory_mb
from modelexport.ir.model import Model
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.pipeline.manager import PassManager
from modelexport.passes.pipeline.run import RunReport

logger = logging.getLogger("modelexport.frontend")

_CRASHES = {"context-inheritance": ContextInheritanceCrash, "fallback-tagging": AuxiliaryOperationCrash}


class ExportJob:
    """One call of ``HierarchyExporter.export``."""

    def __init__(
        self,
        settings: Settings,
        model: torch.nn.Module,
        example_inputs: Any,
        output_path: str | PathLike[str],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.settings = settings
        self.model = model
        self.example_inputs = example_inputs
        self.keywords = kwargs
        self.started = time.perf_counter()
        self.target = _path(output_path)

    def run(self) -> dict[str, Any]:
        """Do it; see ``HierarchyExporter.export``."""
        steps = Steps(self.settings, self.target)
        try:
            self._prepare()
            with scratch_folder(self.target) as scratch:
                result = self._run(steps, scratch)
        except BaseException as error:
            steps.failed(error)
            with suppress(OutputError):
                steps.finish()
            raise
        steps.done(HTPExportStep.COMPLETE, export_time=time.perf_counter() - self.started, warnings=result["warnings"])
        result["warnings"] += steps.finish()
        return result

    def _prepare(self) -> None:
        """Read everything that can be read before the model runs."""
        self.environment = read_environment()
        if not isinstance(self.model, torch.nn.Module):
            raise InputError(_no_model(self.model))
        _check_modules(self.model)
        self.options: ExportOptions = read_options(self.settings.exporter, self.keywords)
        check_writable(self.target)
        self.pipeline = build_pipeline(self.settings)
        self.warnings: list[str] = list(self.options.warnings)

    def _run(self, steps: Steps, scratch: Path) -> dict[str, Any]:
        steps.torch_nn = self.pipeline.torch_nn
        steps.prepared(self.model, self.settings, self.target)
        self.inputs: Inputs = normalise(self.example_inputs, self.options.keywords, self.model)
        steps.generated(self.inputs)
        steps.found(self.model)
        apart = self._apart()
        exported = self._export(steps)
        fed = sum(1 for _ in tensors_of((self.inputs.args, self.inputs.kwargs)))
        self.warnings += check_names(exported.proto.graph, self.options.torch, exported.weights, fed)
        self.warnings += [*self.options.ignored_by(exported.exporter), *exported.warnings]
        check_memory(self.environment.memory_limit_mb, "after the export")
        began = time.perf_counter()
        graph = exported.to_model(
            scratch / self.target.name,
            external_data=self.options.external_data,
            read_weights=not self.pipeline.annotates_only,
        )
        graph.modules = self.seen.modules
        if self.settings.evidence == "scope":
            apply_scopes(
                graph,
                Evidence(
                    exported.paths,
                    exported.called,
                    WeightOwners(ModuleNames(self.model)),
                    exported.watched,
                    exported.functions,
                    exported.scripts,
                ),
            )
        reading = time.perf_counter() - began
        opset = exported.opset_version
        steps.done(
            HTPExportStep.EXPORT,
            strategy=self.settings.strategy,
            exporter=exported.exporter,
            opset_version=opset,
            warnings=list(self.warnings),
        )
        report = self._tag(graph, self._traced(apart, scratch))
        steps.tagged(graph, self.pipeline.recorded())
        self.warnings += report.skipped
        saved = self._save(graph, exported, scratch)
        check_memory(self.environment.memory_limit_mb, "before the files are put in place")
        files = publish(scratch, self.target)
        steps.done(HTPExportStep.SAVE, files=files, file_size=_size(files))
        self.warnings += [line for line in graph.warnings if line not in self.warnings]
        return build_result(
            self.settings,
            self.target,
            files,
            exported.exporter,
            opset,
            self.seen,
            saved,
            self.warnings,
            self._measurements(report, reading),
        )

    def _export(self, steps: Steps) -> Exported:
        failures: list[str] = []
        for exporter in self.options.order:
            try:
                exported = self._watched(exporter, steps)
            except ExportError as error:
                failures.append(str(error))
                if exporter == self.options.order[-1]:
                    if len(failures) == 1:
                        raise
                    raise ExportError("; ".join(failures)) from error
                logger.info("%s; trying the other one", error)
                continue
            self.warnings += [f"{failure}; the {exporter} exporter was used instead" for failure in failures]
            return exported
        raise AssertionError("unreachable: there is always an exporter to try")

    def _watched(self, exporter: ExporterName, steps: Steps) -> Exported:
        """One export, watched: what was seen is in ``self.seen``."""
        self.seen: Seen = unwatched(self.model)
        if self.settings.evidence == "parameter":
            steps.traced(self.seen)
            return self._export_with(exporter)
        ready(exporter)
        with watching(self.model) as watch:
            try:
                exported = self._export_with(exporter)
            except BaseException:  # raised again: an interrupt too leaves what the calls so far have told
                if watch.operation_trace_length:  # the model ran; what failed came after
                    steps.traced(seen(self.model, watch))
                raise
        self.seen = seen(self.model, watch)
        steps.traced(self.seen)
        return exported

    def _apart(self) -> Apart | None:
        """The copy that the eager trace will run on, where tags come from one."""
        if self.settings.evidence != "trace" or not has_onnxruntime():
            return None
        try:
            return set_apart(self.model, self.inputs)
        except ExportError as error:
            self._without_trace(error)
            return None

    def _traced(self, apart: Apart | None, scratch: Path) -> Path | None:
        """The eager trace as a file for value-attribution; None where there is none."""
        if apart is not None:
            try:
                return apart.write(scratch)
            except ExportError as error:
                self._without_trace(error)
        if self.settings.evidence == "trace":
            self.pipeline = build_pipeline(self.settings, traced=False)
        return None

    def _without_trace(self, error: ExportError) -> None:
        self.warnings.append(f"no operator trace, so tags come from weights alone: {error}")

    def _export_with(self, exporter: ExporterName) -> Exported:
        if exporter == "torchscript":
            from modelexport.frontend.torch.torchscript import export_torchscript

            scopes = self.settings.evidence == "scope"
            return export_torchscript(self.model, self.inputs, self.options.for_torchscript(), scopes=scopes)
        from modelexport.frontend.torch.dynamo import export_dynamo

        return export_dynamo(
            self.model,
            self.inputs,
            self.options.for_dynamo(),
            self.options.opset_version,
            strict_opset=self.settings.exporter == "dynamo" or self.options.order == ("dynamo",),
        )

    def _tag(self, graph: Model, trace: Path | None) -> RunReport:
        context = PassContext(trace=trace, memory_limit_mb=self.environment.memory_limit_mb)
        try:
            report = PassManager(self.pipeline.pipeline, context=context, assume=self.pipeline.assume).run(graph)
        except PassError as error:
            crash = _CRASHES.get(error.pass_name)
            if crash is None:
                raise
            raise crash(str(error), error.pass_name, error.done, error.node) from error.__cause__
        if self.environment.auxiliary_debug:
            from modelexport.frontend.export.auxiliary import log_auxiliary

            log_auxiliary(graph)
        return report

    def _save(self, graph: Model, exported: Exported, scratch: Path) -> Saved:
        model_file = scratch / self.target.name
        if exported.weights:
            write_embedded(graph, exported.weights, model_file)
        else:
            save_model(graph, model_file, external_data="keep")
        sidecar: Path | None = None
        if self.settings.sidecar:
            sidecar = scratch / sidecar_path(self.target).name
            about = {"strategy": self.settings.strategy, "exporter": exported.exporter}
            write_sidecar(
                graph,
                sidecar,
                exporter=about,
                pipeline=self.pipeline.recorded(),
                model_path=self.target,
                torch_nn=self.pipeline.torch_nn,
            )
        return read_saved(model_file, sidecar if not self.settings.embed else None)

    def _measurements(self, report: RunReport, reading: float) -> Measurements:
        times: dict[str, float] = {}
        for run in report.runs:
            times[run.name] = times.get(run.name, 0.0) + run.seconds
        monitoring = self.settings.monitoring or self.environment.profiling
        return Measurements(
            enabled=monitoring,
            seconds=time.perf_counter() - self.started,
            reading=reading,
            passes=times,
            peak_mb=int(memory_mb()[1]),
        )


def _size(files: Mapping[str, Path]) -> int:
    return sum(path.stat().st_size for role, path in files.items() if role in ("model", "data"))


def _path(output_path: Any) -> Path:
    if not isinstance(output_path, (str, PathLike)):
        raise OutputError(
            f"output_path is {type(output_path).__name__}, not a path: an export is several files; give a path and "
            "read the file afterwards"
        )
    return Path(output_path)


def _check_modules(model: torch.nn.Module) -> None:
    """Refuse a model whose modules nobody can list, torch neither: they can't be hashed, or their class fails."""
    try:
        for _module in model.modules():
            pass
    except Exception as error:  # a class may list its children as it likes; it is chained and told
        raise ExportError(f"{type(model).__name__}: its modules can't be listed: {first_line(error)}") from error


def _no_model(model: Any) -> str:
    """What is wrong with a model that is none, and what to do."""
    told = f"model is {type(model).__name__}, not a torch.nn.Module"
    if isinstance(model, torch.export.ExportedProgram):
        return f"{told}: give program.module(), or the module it was exported from, which has its classes"
    if isinstance(model, type) and issubclass(model, torch.nn.Module):
        return f"model is the class {model.__name__}, not an instance of it: give {model.__name__}(...)"
    return told
