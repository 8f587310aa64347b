"""One call that chooses a strategy, falls back when it fails, and reports what was done and why."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelexport.frontend.unified.selection import ExportStrategy as ExportStrategy
from modelexport.frontend.unified.selection import facts_about, select
from modelexport.ir.errors import (
    ConfigError,
    CoverageValidationError,
    InputError,
    MemoryLimitExceeded,
    MissingExtraError,
    ModelExportError,
    OutputError,
    PipelineError,
    every_strategy_failed,
)

if TYPE_CHECKING:
    import torch

log = logging.getLogger("modelexport.unified_export")

EXPORTER_OPTIONS = (
    "builtin_tracking", "embed", "exporter", "monitor", "pipeline", "report", "sidecar", "torch_nn",
)  # fmt: skip
# The caller's mistake or bound, or the machine's limit: another strategy would meet it too.
_NOT_THE_STRATEGY = (
    ConfigError,
    CoverageValidationError,
    InputError,
    MemoryLimitExceeded,
    MissingExtraError,
    OutputError,
    PipelineError,
)


class UnifiedExporter:
    """Exports with the strategy that fits, and keeps the report of the last export.

    Args:
        strategy: a member of ``ExportStrategy`` or its value.
        enable_monitoring: adds measurements to the result.
        optimize: fold constant subgraphs and merge equal constants; tags are kept and outputs stay equal.
        verbose: log the steps.
        options: keyword-only arguments of ``HierarchyExporter`` (exporter, torch_nn, embed, sidecar, ...).

    Raises:
        ConfigError: an unknown strategy or option.
    """

    def __init__(
        self,
        strategy: ExportStrategy | str = ExportStrategy.AUTO,
        enable_monitoring: bool = False,
        *,
        optimize: bool = False,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        self.strategy = _strategy(strategy)
        self.enable_monitoring = enable_monitoring
        self.optimize = optimize
        self.verbose = verbose
        unknown = sorted(options.keys() - set(EXPORTER_OPTIONS))
        if unknown:
            raise ConfigError(f"UnifiedExporter has no option {unknown[0]!r}; known: {', '.join(EXPORTER_OPTIONS)}")
        self.options = options
        self._report: dict[str, Any] = {}

    def export(
        self,
        model: torch.nn.Module,
        example_inputs: Any,
        output_path: str | PathLike[str],
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Export ``model`` and return the report, which has the result's documented keys at top level too.

        ``kwargs`` go to ``torch.onnx.export``.

        Raises:
            ExportError: every strategy failed; the message has all reasons, ``.report`` the report. Where a pass
                crashed under each, also a PassError (and, of these two passes, a ContextInheritanceError or an
                AuxiliaryOperationError).
            ModelExportError: an argument or the machine is the reason, so that no other strategy was tried.
        """
        facts = facts_about(model)
        selection = select(self.strategy, facts, {**self.options, **kwargs})
        summary: dict[str, Any] = {
            "success": False,
            "strategies_tried": [],
            "final_strategy": None,
            "export_time": 0.0,
            "file_size": 0,
        }
        errors: list[str] = []
        failures: dict[str, ModelExportError] = {}
        report: dict[str, Any] = {
            "output_path": str(output_path),
            "model_info": {"type": facts.type, "module_count": facts.module_count},
            "strategy_selection": selection.as_dict(),
            "export_result": {},
            "performance_metrics": {},
            "optimizations_applied": [],
            "warnings": [],
            "errors": errors,
            "summary": summary,
        }
        self._report = report
        started = time.perf_counter()
        for strategy in selection.order:
            summary["strategies_tried"].append(str(strategy))
            log.info("strategy %s: %s", strategy, selection.reasoning)
            try:
                result = self._run(strategy, model, example_inputs, output_path, kwargs, errors)
            except _NOT_THE_STRATEGY as error:
                errors.append(f"{strategy}: {error}")
                raise
            except ModelExportError as error:
                errors.append(f"{strategy}: {error}")
                failures[str(strategy)] = error
                log.info("strategy %s failed: %s", strategy, error)
                continue
            finally:
                summary["export_time"] = time.perf_counter() - started
            self._succeed(report, strategy, result)
            return report
        raise every_strategy_failed(failures, report) from next(reversed(failures.values()), None)

    def benchmark_strategies(
        self,
        model: torch.nn.Module,
        example_inputs: Any,
        output_dir: str | PathLike[str] | None = None,
        strategies: Sequence[ExportStrategy | str] = (ExportStrategy.HTP, ExportStrategy.USAGE_BASED),
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Export with each strategy, without fallback, and put the results side by side.

        Args:
            output_dir: folder for ``<strategy>.onnx``; without one the files are thrown away.

        Returns:
            ``model_info``, ``fastest`` (None when all failed) and ``strategies``: by name a dictionary of ``success``,
            ``export_time``, ``total_operations``, ``tagged_operations``, ``by_source``, ``file_size`` and ``error``.
        """
        facts = facts_about(model)
        rows: dict[str, dict[str, Any]] = {}
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(output_dir) if output_dir is not None else Path(scratch)
            for strategy in map(_strategy, strategies):
                if strategy is ExportStrategy.AUTO:
                    strategy = select(strategy, facts, kwargs).order[0]
                rows[str(strategy)] = self._measured(strategy, model, example_inputs, folder, kwargs)
        good = [name for name, row in rows.items() if row["success"]]
        return {
            "model_info": {"type": facts.type, "module_count": facts.module_count},
            "strategies": rows,
            "fastest": min(good, key=lambda name: rows[name]["export_time"], default=None),
        }

    def get_performance_report(self) -> dict[str, Any]:
        """Report of the last export, also when it failed; empty before the first."""
        return self._report

    def _run(
        self,
        strategy: ExportStrategy,
        model: torch.nn.Module,
        example_inputs: Any,
        output_path: str | PathLike[str],
        kwargs: Mapping[str, Any],
        failures: Sequence[str] = (),
    ) -> dict[str, Any]:
        from modelexport.frontend.export.exporter import HierarchyExporter
        from modelexport.frontend.unified.usage_based import UsageBasedExporter

        kind = UsageBasedExporter if strategy is ExportStrategy.USAGE_BASED else HierarchyExporter
        if not self.optimize and not failures:
            exporter = kind(enable_performance_monitoring=self.enable_monitoring, verbose=self.verbose, **self.options)
            return exporter.export(model, example_inputs, output_path, **kwargs)
        from modelexport.frontend.export.pipelines import keeps_torch_nn
        from modelexport.frontend.unified.held_steps import HeldSteps
        from modelexport.frontend.unified.optimize import optimize_file
        from modelexport.passes.pipeline.text import Pipeline

        options = dict(self.options)
        report, monitor = options.pop("report", False), options.pop("monitor", None)
        steps = HeldSteps(output_path, verbose=self.verbose, report=report, monitor=monitor, warnings=failures)
        exporter = kind(
            enable_performance_monitoring=self.enable_monitoring, monitor=steps if steps else None, **options
        )
        with steps:
            result = exporter.export(model, example_inputs, output_path, **kwargs)
            torch_nn = options.get("torch_nn", True) and keeps_torch_nn(Pipeline.parse(options.get("pipeline", "htp")))
            with steps.optimizing(result, torch_nn=torch_nn):
                if self.optimize:
                    result["optimizations_applied"] = optimize_file(
                        result, embed=options.get("embed", True), torch_nn=torch_nn
                    )
        result["warnings"] += steps.unwritten
        return result

    def _succeed(self, report: dict[str, Any], strategy: ExportStrategy, result: dict[str, Any]) -> None:
        report["export_result"] = result
        report["warnings"] += [*report["errors"], *result["warnings"]]
        report["summary"] |= {
            "success": True,
            "final_strategy": str(strategy),
            "file_size": file_size(Path(result["output_path"])),
        }
        report["optimizations_applied"] = result.get("optimizations_applied", [])
        report["performance_metrics"] = {
            "export_time": report["summary"]["export_time"],
            **result.get("performance_profile", {}),
        }
        for key, value in result.items():
            report.setdefault(key, value)
        report["output_path"] = result["output_path"]

    def _measured(
        self,
        strategy: ExportStrategy,
        model: torch.nn.Module,
        example_inputs: Any,
        folder: Path,
        kwargs: Mapping[str, Any],
    ) -> dict[str, Any]:
        target = folder / f"{strategy}.onnx"
        started = time.perf_counter()
        try:
            result = self._run(strategy, model, example_inputs, target, kwargs)
        except _NOT_THE_STRATEGY:
            raise
        except ModelExportError as error:
            return {"success": False, "export_time": time.perf_counter() - started, "error": str(error)}
        return {
            "success": True,
            "export_time": time.perf_counter() - started,
            "total_operations": result["total_operations"],
            "tagged_operations": result["tagged_operations"],
            "by_source": result["by_source"],
            "file_size": file_size(target),
            "error": None,
        }


def export_model(
    model: torch.nn.Module,
    example_inputs: Any,
    output_path: str | PathLike[str],
    strategy: ExportStrategy | str = ExportStrategy.AUTO,
    optimize: bool = False,
    verbose: bool = False,
    **kwargs: Any,
) -> dict[str, Any]:
    """Export with ``UnifiedExporter``; its options and those of ``torch.onnx.export`` are told apart by name."""
    options = {key: kwargs.pop(key) for key in (*EXPORTER_OPTIONS, "enable_monitoring") if key in kwargs}
    exporter = UnifiedExporter(strategy, optimize=optimize, verbose=verbose, **options)
    return exporter.export(model, example_inputs, output_path, **kwargs)


def file_size(path: Path) -> int:
    """Bytes of a model file and of the data files it refers to."""
    from modelexport.ir.io.reader import load_model

    names = {
        entry.value
        for tensor in load_model(path).proto.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = [path, *(path.parent / name for name in names)]
    return sum(file.stat().st_size for file in files if file.is_file())


def _strategy(given: ExportStrategy | str) -> ExportStrategy:
    try:
        return ExportStrategy(given)
    except ValueError as error:
        raise ConfigError(f"no strategy {given!r}; known: {', '.join(ExportStrategy)}") from error
