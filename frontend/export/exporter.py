"""HierarchyExporter: from a PyTorch model to an ONNX file whose nodes say which module they are from."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from modelexport.frontend.needed import need_torch
from modelexport.frontend.settings import EXPORTERS, STRATEGY, Evidence, Settings
from modelexport.ir.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from modelexport.frontend.inputs.options import ExporterChoice
    from modelexport.frontend.monitor.protocol import Monitor


class HierarchyExporter:
    """Exports models and tags every node with the module it is from.

    Args:
        strategy: ``"htp"``; the name under which the unified exporter knows this one.
        builtin_tracking: take tags from the scopes that torch's exporters record. False: from an eager trace alone,
            matched to the graph by order and value.
        enable_performance_monitoring: add measurements to the result.
        verbose: show the steps on stderr.
        exporter: ``"auto"`` chooses between torch's two: TorchScript for opset 17 and below or when an argument only it
            understands is given, else torch's default; when the one fails the other is tried.
        torch_nn: False collapses the tags of torch.nn modules into their user module; paths stay full.
        embed: write tags into the model. sidecar: write ``<stem>_hierarchy.json`` beside it.
        report: write the export monitor's metadata, report and console log beside the model.
        pipeline: the passes that run, as text.
        monitor: told of each of the eight steps; it is not finalised.

    Raises:
        ConfigError: an argument has a value that can't be used.
    """

    evidence: ClassVar[Evidence | None] = None
    """Overrides what ``builtin_tracking`` chooses; for exporters built on this one."""

    result_strategy: ClassVar[str | None] = None
    """Overrides the strategy that the result names."""

    def __init__(
        self,
        strategy: str = STRATEGY,
        builtin_tracking: bool = True,
        enable_performance_monitoring: bool = False,
        verbose: bool = False,
        *,
        exporter: ExporterChoice = "auto",
        torch_nn: bool = True,
        embed: bool = True,
        sidecar: bool = True,
        report: bool = False,
        pipeline: str = "htp",
        monitor: Monitor | None = None,
    ) -> None:
        if strategy != STRATEGY and self.result_strategy is None:
            raise ConfigError(
                f"strategy {strategy!r}: HierarchyExporter has {STRATEGY!r}; UnifiedExporter has the others"
            )
        if exporter not in EXPORTERS:
            raise ConfigError(f"exporter {exporter!r}: known are {', '.join(EXPORTERS)}")
        if not embed and not sidecar:
            raise ConfigError("embed=False, sidecar=False: the tags would be lost; leave one of them on")
        self.strategy = strategy
        self.builtin_tracking = builtin_tracking
        self.enable_performance_monitoring = enable_performance_monitoring
        self.verbose = verbose
        evidence: Evidence = self.evidence or ("scope" if builtin_tracking else "trace")
        self._settings = Settings(
            strategy=self.result_strategy or ("htp_builtin" if evidence == "scope" else "htp"),
            evidence=evidence,
            monitoring=enable_performance_monitoring,
            verbose=verbose,
            exporter=exporter,
            torch_nn=torch_nn,
            embed=embed,
            sidecar=sidecar,
            report=report,
            pipeline=pipeline,
            monitor=monitor,
        )

    def export(
        self,
        model: torch.nn.Module,
        example_inputs: torch.Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any],
        output_path: str | PathLike[str],
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Export ``model`` to ``output_path``.

        Args:
            example_inputs: a tensor, a tuple or list of positional arguments, or a mapping of keyword arguments.
            output_path: the file; its folder must exist. Nothing is written when the export fails.
            kwargs: arguments of ``torch.onnx.export``. Those that the exporter which ran ignores are named in the
                result's ``warnings``.

        Returns:
            The documented result. Counts are of the saved file, read again.

        Raises:
            ExportError: the forward or torch's exporter failed.
            ConfigError: arguments or environment variables that can't be used.
            CoverageValidationError: the pipeline's bounds are not met.
            MemoryLimitExceeded: the process grew above MODELEXPORT_MEMORY_LIMIT_MB.
            OutputError: the file can't be written there.
        """
        need_torch("exporting a model")
        from modelexport.frontend.export.job import ExportJob
        from modelexport.frontend.interception.exporters import left_alone

        with left_alone():
            return ExportJob(self._settings, model, example_inputs, output_path, kwargs).run()
