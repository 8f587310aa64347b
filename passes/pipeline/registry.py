"""Names of passes and pipelines. A pass is imported when it is used, ours and third-party ones alike.

A package adds passes with entry points of the group ``modelexport.passes``; the name is the pass's name, the object its
class, or a str for a named pipeline. This module imports nothing heavy, so that completing names is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from modelexport.passes.pipeline.base import Pass

GROUP = "modelexport.passes"
OWNER = "modelexport"

PASSES: dict[str, str] = {
    "scope-attribution": "modelexport.passes.scope_attribution:ScopeAttribution",
    "reference-attribution": "modelexport.passes.reference_attribution:ReferenceAttribution",
    "value-attribution": "modelexport.passes.value_attribution:ValueAttribution",
    "parameter-attribution": "modelexport.passes.parameter_attribution:ParameterAttribution",
    "context-inheritance": "modelexport.passes.context_inheritance:ContextInheritance",
    "fallback-tagging": "modelexport.passes.fallback_tagging:FallbackTagging",
    "coverage-validation": "modelexport.passes.coverage_validation:CoverageValidation",
    "attribute-embedding": "modelexport.passes.attribute_embedding:AttributeEmbedding",
    "strip-tags": "modelexport.passes.strip_tags:StripTags",
    "extract-module": "modelexport.passes.extract_module:ExtractModule",
    "node-naming": "modelexport.passes.rewriting.node_naming:NodeNaming",
    "layer-annotation": "modelexport.passes.layer_annotation:LayerAnnotation",
    "drop-value-info": "modelexport.passes.rewriting.drop_value_info:DropValueInfo",
    "sort-nodes": "modelexport.passes.rewriting.sort_nodes:SortNodes",
    "ort-optimize": "modelexport.passes.tools.ort_optimize:OrtOptimize",
    "ort-transformers": "modelexport.passes.tools.ort_transformers:OrtTransformers",
    "onnxslim": "modelexport.passes.tools.onnxslim:Onnxslim",
    "onnxsim": "modelexport.passes.tools.onnxsim:Onnxsim",
    "onnxscript-optimize": "modelexport.passes.tools.onnxscript_optimize:OnnxscriptOptimize",
    "convert-version": "modelexport.passes.tools.convert_version:ConvertVersion",
    "float16": "modelexport.passes.tools.float16:Float16",
    "quantize-dynamic": "modelexport.passes.tools.quantize_dynamic:QuantizeDynamic",
    "quantize-static": "modelexport.passes.tools.quantize_static:QuantizeStatic",
    "quantize-weights": "modelexport.passes.tools.quantize_weights:QuantizeWeights",
    "constant-folding": "modelexport.passes.rewriting.constant_folding:ConstantFolding",
    "constant-deduplication": "modelexport.passes.rewriting.constant_deduplication:ConstantDeduplication",
}
_INFER_AND_WRITE = "context-inheritance,fallback-tagging,coverage-validation,attribute-embedding"
PIPELINES: dict[str, str] = {
    "htp": f"scope-attribution,{_INFER_AND_WRITE}",
    "htp-retag": f"reference-attribution,scope-attribution,{_INFER_AND_WRITE}",
    "htp-trace": f"scope-attribution,reference-attribution,value-attribution,parameter-attribution,{_INFER_AND_WRITE}",
    "none": "none",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered name: where its object is and which distribution it is from."""

    name: str
    target: Any  # "module:Class", a class, the text of a named pipeline, or an entry point
    owner: str


class Registry:
    """What a pipeline text may name.

    Args:
        passes: name to class, or to ``"module:Class"``.
        pipelines: name to text.
        plugins: whether installed distributions add to it.

    Raises:
        PipelineError: two distributions register one name.
    """

    def __init__(
        self,
        passes: Mapping[str, str | type[Pass]],
        pipelines: Mapping[str, str] | None = None,
        *,
        plugins: bool = False,
    ) -> None:
        self._passes = {name: Entry(name, target, OWNER) for name, target in passes.items()}
        self._pipelines = dict(pipelines or {})
        if plugins:
            self._add_plugins()

    @classmethod
    def default(cls) -> Registry:
        """Our passes and those of every installed distribution."""
        return _default()

    def extended(self, *passes: type[Pass], pipelines: Mapping[str, str] | None = None) -> Registry:
        """A copy that also knows these passes; they take the place of others of the same name."""
        copy = Registry({}, {**self._pipelines, **(pipelines or {})})
        copy._passes = {**self._passes, **{each.name: Entry(each.name, each, each.__module__) for each in passes}}
        return copy

    @property
    def names(self) -> list[str]:
        """Names of passes, ours first; a name of a plug-in may turn out to be a pipeline's when it is loaded."""
        return list(self._passes)

    @property
    def pipelines(self) -> dict[str, str]:
        """Named pipelines that are known without loading a plug-in."""
        return dict(self._pipelines)

    def owner(self, name: str) -> str:
        """The distribution that a name is from."""
        return self._passes[name].owner if name in self._passes else OWNER

    def find(self, name: str, text: str = "", column: int | None = None) -> type[Pass] | str:
        """The pass class of that name, or the text of the named pipeline. ``text`` and ``column`` locate errors.

        Raises:
            PipelineError: the name is unknown, or its plug-in can't be loaded.
        """
        from modelexport.ir.errors import PipelineError, nearest

        if name in self._pipelines:
            return self._pipelines[name]
        entry = self._passes.get(name)
        if entry is None:
            known = [*self._passes, *self._pipelines]
            close = nearest(name.replace("_", "-").lower(), known)
            hint = f"did you mean {close!r}?" if close else f"known are {', '.join(known)}"
            raise PipelineError(f"unknown pass {name!r}: {hint}", text, column)
        try:
            return _checked(entry, _load(entry.target))
        except Exception as error:  # a plug-in's module runs here, and may fail in any way
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            message = f"the pass {name!r} of {entry.owner} can't be loaded: {reason}"
            raise PipelineError(message, text, column) from error

    def _add_plugins(self) -> None:
        from importlib.metadata import entry_points

        for point in sorted(entry_points(group=GROUP), key=lambda point: (_owner(point), point.name)):
            taken = self._passes.get(point.name)
            other = taken.owner if taken is not None else OWNER if point.name in self._pipelines else None
            if other is not None:
                from modelexport.ir.errors import PipelineError

                raise PipelineError(
                    f"{point.name!r} is registered by both {other} and {_owner(point)}: uninstall one of them"
                )
            self._passes[point.name] = Entry(point.name, point, _owner(point))


@cache
def _default() -> Registry:
    return Registry(PASSES, PIPELINES, plugins=True)


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def _load(target: Any) -> Any:
    if isinstance(target, type):
        return target
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)
    return target.load()


def _checked(entry: Entry, found: Any) -> type[Pass] | str:
    from modelexport.passes.pipeline.base import Pass
    from modelexport.passes.pipeline.options import options_of

    if isinstance(found, str) and not isinstance(entry.target, str):
        return found
    if not (isinstance(found, type) and issubclass(found, Pass)):
        raise TypeError(f"{found!r} is not a Pass")
    if found.name != entry.name:
        raise TypeError(f"it calls itself {found.name!r}")
    options_of(found)
    return found
