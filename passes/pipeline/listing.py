"""What can be named in a pipeline, as data: for ``--list-passes`` and for the documentation."""

from __future__ import annotations

import inspect
from typing import Any

from modelexport.ir.errors import PipelineError
from modelexport.passes.pipeline.base import Pass
from modelexport.passes.pipeline.options import options_of
from modelexport.passes.pipeline.registry import Registry


def list_passes(registry: Registry | None = None, *, docs: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Every pass and named pipeline, and a warning for each that can't be loaded.

    Returns:
        ``{"passes": [{name, summary, options: [{name, type, default}], requires, establishes, origin}],
        "pipelines": {name: text}}``; with ``docs`` an option also has its one-line ``doc``. The default is as text
        spells it, None for an option that must be given.
    """
    registry = registry or Registry.default()
    pipelines = registry.pipelines
    passes: list[dict[str, Any]] = []
    warnings: list[str] = []
    for name in registry.names:
        try:
            found = registry.find(name)
        except PipelineError as error:
            warnings.append(str(error))
            continue
        if isinstance(found, str):
            pipelines[name] = found
        else:
            described = describe_pass(found, registry.owner(name))
            if docs:
                texts = option_docs(found)
                described["options"] = [{**each, "doc": texts.get(each["name"], "")} for each in described["options"]]
            passes.append(described)
    return {"passes": passes, "pipelines": pipelines}, warnings


def option_docs(cls: type[Pass]) -> dict[str, str]:
    """What the class's docstring says of each option in its ``Attributes:`` section, by key, on one line."""
    docs: dict[str, str] = {}
    _, _, section = (inspect.getdoc(cls) or "").partition("\nAttributes:\n")
    key = ""
    for line in section.partition("\n\n")[0].splitlines():
        name, colon, rest = line.strip().partition(":")
        if line.startswith("    ") and not line.startswith("     ") and colon and name.isidentifier():
            key = name.replace("_", "-")
            docs[key] = rest.strip()
        elif key:
            docs[key] = f"{docs[key]} {line.strip()}"
    return {key: doc.replace("``", "").rstrip(".") for key, doc in docs.items()}


def describe_pass(cls: type[Pass], origin: str) -> dict[str, Any]:
    """One pass as data."""
    return {
        "name": cls.name,
        "summary": (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " "),
        "options": [
            {"name": option.key, "type": option.type_text, "default": option.default_text} for option in options_of(cls)
        ],
        "requires": sorted(fact.value for fact in cls.requires),
        "establishes": sorted(fact.value for fact in cls.establishes),
        "origin": origin,
    }
