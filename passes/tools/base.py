"""What every tool pass does around its tool: hand the model over, read it back, carry the modules."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import onnx

from modelexport.ir.errors import InputError, ToolError
from modelexport.ir.facts import Fact
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.external.data_folder import DataFolder
from modelexport.ir.io.overlay import assemble
from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.rewriting.upkeep import embed_again, embedding_of, fill_gaps, has_attributions
from modelexport.passes.running.named_copy import nodes_of
from modelexport.passes.selection.options import selected
from modelexport.passes.strip_tags import stripped_copy
from modelexport.passes.tools.carry import Before, carry
from modelexport.passes.tools.handover import Handover, call, require, tool_version

_CARRIED_KEYS = (embedded_tags.OLD_NAME, embedded_tags.PLACEMENT, embedded_tags.OLD_PLACEMENT)


@dataclass(frozen=True)
class ToolPass(Pass):
    """Base of passes that run another tool. A subclass names the tool and calls it in ``apply``.

    Options that are None are not handed over: the tool's own defaults rule.
    """

    package: ClassVar[str]
    module: ClassVar[str]
    extra: ClassVar[str]
    signature: ClassVar[str] = ""  # "module:callable" whose defaults the documentation shows
    arguments: ClassVar[dict[str, str]] = {}  # option to the tool's own name for it
    metadata_only: ClassVar[bool] = False

    @abstractmethod
    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """Run the tool. ``names`` has, by option, the names of the nodes that its selector selects."""

    def check_ready(self) -> None:
        """Raises MissingExtraError where the tool is not installed."""
        require(self.module, self.package, self.extra, self.name)

    def tool(self) -> str:
        """The package that does the work."""
        return self.package

    def prepare(self, model: Model) -> None:
        """Read what else the pass needs, before the tool starts. Raises InputError."""

    def selectors(self) -> dict[str, str]:
        """Text of the selectors by option."""
        return {}

    def given_options(self) -> dict[str, Any]:
        """The options that were given, by the tool's own names."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name in self.arguments}
        given = {self.arguments[name]: value for name, value in values.items() if value not in (None, ())}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """See the class.

        Raises:
            MissingExtraError: the tool is not installed.
            ConfigError: a selector matches nothing, or nothing is attributed that it could select by.
            InputError: weights or calibration data can't be read.
            ToolError: the tool failed.
        """
        self.check_ready()
        embedding = embedding_of(model, ctx)
        known = has_attributions(model, self.name, ctx.warnings) or (
            not any(True for _ in model.nodes()) and any(Fact.TAGGED in step.establishes for step in ctx.done)
        )  # a tool may put a node into an empty graph
        if embedding is not None and known:
            fill_gaps(model, ctx)
            ctx.counts.clear()  # what the report lists is what was done to the tool's nodes
        complete = all(node.attribution is not None for node in model.nodes())
        chosen = {key: selected(model, self.name, key, text).nodes for key, text in self.selectors().items()}
        self.prepare(model)
        before = Before(model, _CARRIED_KEYS)
        old_names = {key: model.metadata[key] for key in embedded_tags.old_names_keys(model.metadata)}
        count = sum(len(graph) for graph in model.graphs())
        done = tuple(step.name for step in ctx.done)
        home = DataFolder(ctx.scratch)
        try:
            made = self._applied(model, chosen, ctx, home, done)
        except BaseException:
            home.remove()
            raise
        if made.data_home is None:
            home.remove()
        made.modules = model.modules
        made.warnings = [line for line in made.warnings if line not in model.warnings]
        model.become(made)
        report = carry(model, before, ctx) if known else None
        if report is not None and complete:
            fill_gaps(model, ctx)
        if old_names and any(embedded_tags.OLD_NAME in node.metadata for node in model.nodes()):
            model.patch_metadata(dict(old_names))
        embed_again(model, ctx, embedding)
        after = sum(len(graph) for graph in model.graphs())
        notes: dict[str, object] = {"tool": tool_version(self.tool()), "nodes": [count, after]}
        if report is not None:
            notes |= {"kept": report.kept, "new": report.new, "by rule": {}}  # the counts of ``ctx`` come there
        return PassResult(after, True, notes)

    def _applied(
        self,
        model: Model,
        chosen: dict[str, tuple[Node, ...]],
        ctx: PassContext,
        home: DataFolder,
        done: tuple[str, ...],
    ) -> Model:
        """What the tool makes of the model without anything of ours and with its weights."""
        proto, names, temporary = _named(model, chosen)
        plain = Model(proto, model.path)
        plain.data_home = model.data_home
        given = Handover(plain, proto, home, ctx.allow_outside_data)
        result = call(lambda: self.apply(given, names), self.name, self.tool(), done, home.folder)
        _give_back(result, temporary)
        try:
            settled = given.read_back(result)
            made = from_proto(settled.proto, path=model.path, label=f"the result of {self.name}")
        except InputError as error:
            raise ToolError(f"the pass {self.name}: {self.tool()}: {error}", self.name, done) from error
        made.data_home = settled.data_home
        return made


def _give_back(proto: onnx.ModelProto, temporary: dict[str, str | None]) -> None:
    """Let nodes that were named for the tool, and what it named after them, have their old names."""
    if not temporary:
        return
    nodes = [*nodes_of(proto.graph), *(node for function in proto.functions for node in function.node)]
    for node in nodes:
        for name, old in temporary.items():
            if node.name == name and old is None:
                node.ClearField("name")
            elif node.name == name or node.name.startswith(f"{name}_"):
                node.name = (old or "") + node.name[len(name) :]


def _named(
    model: Model, chosen: dict[str, tuple[Node, ...]]
) -> tuple[onnx.ModelProto, dict[str, list[str]], dict[str, str | None]]:
    """The model for the tool, the names of the chosen nodes in it, and the old names of those that got one there."""
    proto = stripped_copy(model)
    count = Counter(node.name for node in model.nodes()) if chosen else Counter[str]()
    temporary: dict[str, str | None] = {}
    nameless = [node for nodes in chosen.values() for node in nodes if not node.name or count[node.name] > 1]
    given: dict[Node, str] = {}
    if nameless:
        plain = from_proto(proto, path=model.path)
        twins = dict(zip(model.nodes(), plain.nodes(), strict=True))
        for node in dict.fromkeys(nameless):
            number = len(temporary)
            while (name := f"modelexport.{number}") in count:
                number += 1
            twin = twins[node]
            has_name = twin.proto.HasField("name") if twin.proto is not None else bool(twin.name)
            temporary[name] = twin.name if has_name else None
            count[name] = 1
            twin.rename(name)
            given[node] = name
        proto = assemble(plain)
    names = {option: [given.get(node) or node.name for node in nodes] for option, nodes in chosen.items()}
    return proto, names, temporary
