"""Node metadata by which viewers and other tools group nodes."""

from __future__ import annotations

from collections.abc import Mapping

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.io.embedded_tags import CLASS_HIERARCHY, NAME_SCOPES, NAMESPACE, WINML_DEPTH, WINML_TAG, Interop
from modelexport.ir.modules import ModuleTable
from modelexport.ir.node import Node


class Viewers:
    """Metadata for other tools, by module path."""

    def __init__(self, interop: Interop, modules: ModuleTable, tags: Mapping[str, str]) -> None:
        self.interop = interop
        self.modules = modules
        self.tags = tags
        self._stacks: dict[str, tuple[list[str], list[str]]] = {}

    def keys(self, node: Node, attribution: Attribution) -> dict[str, str]:
        """What to write on ``node``. A fallback is no namespace: viewers group by names where there is none."""
        if self.interop == "none":
            return {}
        path = attribution.path
        tag = self.tags[path]
        keys = {} if attribution.source is Source.FALLBACK else {NAMESPACE: tag.removeprefix("/")}
        if self.interop == "torch":
            paths, classes = self._stack(path)
            keys[NAME_SCOPES] = repr([*paths, node.op_type.lower()])
            keys[CLASS_HIERARCHY] = repr([*classes, node.op_type])
        elif self.interop == "winml":
            keys[WINML_TAG] = tag
            keys[WINML_DEPTH] = str(tag.count("/"))
        return keys

    def _stack(self, path: str) -> tuple[list[str], list[str]]:
        """Paths and classes of the called modules from the root to ``path``."""
        found = self._stacks.get(path)
        if found is None:
            chain: list[str] = []
            here: str | None = path
            while here is not None:
                chain.append(here)
                here = self.modules.parent(here)
            classes = [module.cls if (module := self.modules.get(each)) is not None else "" for each in chain]
            found = self._stacks[path] = (chain[::-1], classes[::-1])
        return found
