"""From TorchScript scope strings to module paths, decided by what else is in the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from modelexport.passes.evidence.names.holders import LikeHolders
from modelexport.passes.evidence.names.parameters import ParameterIndex, crosses, join, unqualified
from modelexport.passes.evidence.records.node_names import split_call


@dataclass(slots=True)
class Seen:
    """What the graph shows of one scope.

    Attributes:
        children: segments below it.
        owners: modules whose parameters its nodes and those of scopes below read.
        direct: modules whose parameters its own nodes read.
        operators: operator types of its own nodes, constants left out.
        weights: fingerprints of the initializers its own nodes compute with.
    """

    children: set[str] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)
    direct: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    weights: set[str] = field(default_factory=set)


class ScopeWalk:
    """Resolves scopes such as ``/encoder/layer.0/fc_1`` to ``encoder.layer.0.fc``.

    First tell it everything with :meth:`see`, then ask :meth:`path`. ``exact`` says that the parameter index holds
    every module (it was made from a module table), so that a segment outside it is never a module of its own.
    ``owner`` is the module an initializer is named after, ``fingerprint`` is equal for equal weights, "" for others.
    ``called_by`` gives the name by which a caller holds a module that has several.
    """

    def __init__(
        self,
        parameters: ParameterIndex,
        exact: bool = False,
        owner: Mapping[str, str] = MappingProxyType({}),
        fingerprint: Callable[[str], str] = str,
        limit: int = 1_000_000,
        called_by: Callable[[str, str], str] = lambda caller, path: path,
    ) -> None:
        self.limit = limit
        self._called_by = called_by
        self.parameters = parameters
        self._owner = owner
        self.fingerprint = fingerprint
        self.exact = exact
        self.seen: dict[str, Seen] = {"": Seen()}
        self._paths: dict[str, str] = {"": ""}
        self._copies: set[str] = set()
        self.counted: set[str] = set()  # scopes that were told from others by the number of their call alone
        self._holders = LikeHolders(self.seen, parameters, exact, self._paths)
        self._placing: ParameterIndex | None = None  # of the parameters that are no one else's

    def see(self, scope: str, operator: str = "", initializers: Iterable[str] = ()) -> bool:
        """Note that a node of type ``operator`` that reads ``initializers`` is in ``scope``.

        False where there are more scopes than nodes can account for: such names are no exporter's.
        """
        seen = self.seen.get(scope)
        if seen is None:
            if len(self.seen) > self.limit:
                return False
            seen = self._add(scope)
        if operator and operator != "Constant":
            seen.operators.add(operator)
        for name in initializers:
            seen.weights.add(name)
            owner = self._owner.get(name)
            if owner is not None and owner not in seen.direct:
                seen.direct.add(owner)
                above = scope
                while owner not in self.seen[above].owners:
                    self.seen[above].owners.add(owner)
                    above = above.rpartition("/")[0]
        return True

    def _add(self, scope: str) -> Seen:
        head, _, segment = scope.rpartition("/")
        missing = [(scope, head, segment)]
        while head not in self.seen:
            upper, _, segment = head.rpartition("/")
            missing.append((head, upper, segment))
            head = upper
        for path, above, segment in reversed(missing):
            self.seen[above].children.add(segment)
            self.seen[path] = Seen()
        return self.seen[scope]

    def path(self, scope: str) -> str:
        """The module path of a scope that was seen."""
        found = self._paths.get(scope)
        if found is not None:
            return found
        pending = []
        while scope not in self._paths:
            pending.append(scope)
            scope = scope.rpartition("/")[0]
        for scope in reversed(pending):
            head, _, segment = scope.rpartition("/")
            self._paths[scope] = self._called_by(self._paths[head], self._resolve(scope, head, segment))
            if head in self.counted or scope in self._holders.guessed:
                self.counted.add(scope)
        return self._paths[pending[0]]

    def called(self) -> dict[str, str]:
        """Every scope that was seen, with its path."""
        return {scope: self.path(scope) for scope in self.seen}

    def merged(self) -> dict[str, tuple[str, str]]:
        """Scopes of a module and of further calls of another, by their parameters: the two modules."""
        found = {}
        for scope, seen in self.seen.items():
            head, _, segment = scope.rpartition("/")
            call = split_call(segment)
            if call is None or len(seen.owners) < 2:
                continue
            here = self.path(head)
            own, base = self._below(here, segment), self._below(here, call[0])
            if len(own) == len(base) == 1 and _share(seen.owners, own[0]) and _share(seen.owners, base[0]):
                found[scope] = own[0], base[0]
        return found

    def owner_of(self, initializer: str) -> str | None:
        """The module that an initializer is named after."""
        return self._owner.get(initializer)

    def _resolve(self, scope: str, head: str, segment: str) -> str:
        here = self._paths[head]
        found = self._holders.module(scope, head, segment)
        if found is not None:
            return found
        call = split_call(segment)
        if call is not None and self._is_call(scope, head, here, segment, call[0]):
            segment = call[0]
        return self._module(scope, here, segment)

    def _is_call(self, scope: str, head: str, here: str, segment: str, base: str) -> bool:
        """Whether ``segment`` is a further call of ``base`` and not a module of that name."""
        own = self._below(here, segment)
        first = self.seen.get(f"{head}/{base}")
        base_modules = self._below(here, base)
        if first is None and base_modules != [join(here, base)]:
            base_modules = []  # spelled like the base, but nothing here calls it
        seen = self.seen[scope]
        if own:
            direct = seen.direct
            return bool(direct and base_modules) and not _within(direct, own) and _within(direct, base_modules)
        if self.exact:
            return bool(base_modules or self.parameters.spelled(base))
        if base_modules and seen.owners:
            return _within(seen.owners, base_modules)
        return bool(base_modules) if first is None else self._is_like(seen, first, bool(base_modules))

    def _is_like(self, seen: Seen, first: Seen, known: bool) -> bool:
        """Whether two scopes can be calls of one module: they share parameters, else weights, else operators."""
        if seen.owners and first.owners:
            return not seen.owners.isdisjoint(first.owners)
        if seen.owners or (first.owners and not known):
            return False
        prints, first_prints = self._prints(seen.weights), self._prints(first.weights)
        if prints and first_prints:
            return not prints.isdisjoint(first_prints)
        return not (seen.operators and first.operators and seen.operators.isdisjoint(first.operators))

    def _prints(self, weights: Iterable[str]) -> set[str]:
        return {print_ for weight in weights if (print_ := self.fingerprint(weight))}

    def _below(self, here: str, segment: str) -> list[str]:
        """Known modules below ``here`` that are spelled ``segment``."""
        direct = join(here, segment)
        if direct in self.parameters.known:
            return [direct]
        return self.parameters.spelled_below(here, segment)

    def _module(self, scope: str, here: str, segment: str) -> str:
        """The module below ``here``, or elsewhere, that ``segment`` spells."""
        direct = join(here, segment)
        if direct in self.parameters.known:
            return direct
        owners = self.seen[scope].owners
        below = self._below(here, segment)
        if not owners:  # a holder that has a scope of its own would be in the name
            called = self.seen[scope.rpartition("/")[0]].children
            start = len(here) + 1 if here else 0
            below = [path for path in below if not crosses(path, start, called)]
        if len(below) == 1 and (not owners or _share(owners, below[0])):
            return below[0]  # its holder has no scope of its own
        if len(below) > 1:
            return max(below, key=lambda path: (_share(owners, path), -path.count("."), path))
        if self.exact or owners:
            above = [path for path in _and_above(here) if unqualified(path) == segment]
            for path in above:  # a module that calls itself
                if self.exact or _within(owners, [path]):
                    return path
            if owners and self._is_copy(scope, here):
                return direct
            if owners:  # a module that is called from outside its parent
                fitting = [path for path in _and_above(min(owners)) if unqualified(path) == segment]
                elsewhere = [path for path in fitting if path in self.parameters.known and _within(owners, [path])]
            else:
                elsewhere = self.parameters.spelled(segment)
            if elsewhere:
                return max(elsewhere, key=len)
        return direct

    def _is_copy(self, scope: str, here: str) -> bool:
        """Whether ``scope`` is in a module that was copied, weights and all, and whose weights were then merged.

        No weight that places a node is named after such a module, and several of its children read those of their
        originals. The benchmark's ``encoder@init`` needs it: torch copies the layers of a TransformerEncoder, and 574
        of 4,600 tags are wrong without.
        """
        head = scope.rpartition("/")[0]
        if self._placing is None:
            self._placing = ParameterIndex(())
            for owner in set(self._owner.values()):
                self._placing.add(owner)
        if not here or here in self._placing.known:
            return False
        if head not in self._copies:
            reading = [child for child in self.seen[head].children if self.seen[f"{head}/{child}"].owners]
            if len(reading) < 2:  # one alone may as well be shared
                return False
        self._copies.update((head, scope))
        return True


def _within(owners: Iterable[str], modules: list[str]) -> bool:
    return all(any(owner == module or owner.startswith(module + ".") for module in modules) for owner in owners)


def _share(owners: Iterable[str], module: str) -> int:
    return sum(owner == module or owner.startswith(module + ".") for owner in owners)


def _and_above(path: str) -> Iterable[str]:
    while path:
        yield path
        path = path.rpartition(".")[0]
