"""Weights that local functions get as arguments, and the modules of calls that hand them over.

Exporters make functions of modules (``export_modules_as_functions``): the weights are arguments, so that a body's names
say nothing, and a call in a body has no scope. But the arguments of its calls are weights with names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from modelexport.ir.model import Model
from modelexport.ir.modules import common_path
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope
from modelexport.passes.evidence.names.parameters import ParameterIndex

# A call that hands on weights of one module may be this module's, or of one around it; torch's own have no children.
SEVERAL, ONE = "call-arguments", "call-argument"
_LEAF = "torch.nn."
_NESTED = 64  # calls within calls that are looked at

Owners = Mapping[str, str]


class Arguments:
    """Which module owns each argument of each local function, where all its calls agree.

    Args:
        model: whose functions they are.
        owner: owning module by name of an initializer or of what a Constant node makes.
    """

    def __init__(self, model: Model, owner: Owners) -> None:
        self._owner = owner
        self._calls = model.callers()
        self._of: dict[Scope, dict[str, str]] = {}
        for function in model.functions_callers_first():
            calls = self._calls[function]
            self._of[function] = {}
            for place, formal in enumerate(function.inputs):
                owners = {self._given(call, place) for call in calls}
                first = owners.pop() if len(owners) == 1 else None
                if first is not None:
                    self._of[function][formal] = first

    def of(self, graph: Scope) -> Owners:
        """Owners by the names that ``graph`` reads: of arguments in a function, else of initializers."""
        home = graph.home
        return self._of.get(home, {}) if home.kind == "function" else self._owner

    def index(self, graph: Scope, parameters: ParameterIndex) -> ParameterIndex:
        """What of ``parameters`` counts in ``graph``: all, but in a function only what its arguments are."""
        if graph.home.kind != "function":
            return parameters
        found = ParameterIndex(())
        found.owner = dict(self.of(graph))
        return found

    def _given(self, call: Node, place: int) -> str | None:
        inputs = call.inputs
        return self.of(call.graph).get(inputs[place]) if place < len(inputs) else None

    def calls(self) -> Iterator[tuple[Node, str, str, Sequence[str]]]:
        """Calls with weights for arguments, the module that has all of these, the rule, and the weights' names."""
        for function, calls in self._calls.items():
            for call in calls:
                owner = self.of(call.graph)
                weights = [value for value in call.inputs if value in owner]
                if weights:
                    owners = {owner[value] for value in weights}
                    rule = SEVERAL if len(owners) > 1 or call.domain.startswith(_LEAF) else ONE
                    yield call, self._above(function, call, frozenset(weights), common_path(owners)), rule, weights

    def _above(self, function: Scope, call: Node, weights: frozenset[str], path: str) -> str:
        """``path``, or a module above it for every call inside that gets all these weights on."""
        for _ in range(_NESTED):
            given = {
                formal: value for formal, value in zip(function.inputs, call.inputs, strict=False) if value in weights
            }
            inner = next(
                (
                    (other, each)
                    for other, calls in self._calls.items()
                    for each in calls
                    if each.graph is function and weights <= {given.get(value, "") for value in each.inputs}
                ),
                None,
            )
            if inner is None:
                return path
            function, call = inner
            weights = frozenset(formal for formal, value in given.items() if value in weights)
            path = path.rpartition(".")[0]
        return path
