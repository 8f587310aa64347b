"""Modules of several holders that have no scope of their own: TorchScript numbers them like calls of one module.

A layer that is run by ``layer.forward(x)``, or a dictionary of modules, leaves no scope. ``/attention`` is then of the
first such holder and ``/attention_1`` of the second, and what is in them ``/attention/query`` and
``/attention/query_1``. The benchmark's ``dicts`` needs it: 58 of its 621 plain tags are wrong without.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Protocol

from modelexport.passes.evidence.names.parameters import ParameterIndex, crosses, join
from modelexport.passes.evidence.records.node_names import split_call


class Scope(Protocol):
    """What the holders need to know of a scope."""

    children: set[str]
    owners: set[str]
    direct: set[str]
    operators: set[str]


class LikeHolders:
    """Which module every call of a scope is of, where modules of several holders are spelled alike.

    ``seen`` has every scope, ``paths`` the module of each that is above. ``exact`` says that ``parameters`` holds every
    module, so that an order of calls may be taken for granted of which no parameter says anything.

    Attributes:
        guessed: scopes whose module is the one with the number of the call, though no parameter says so.
    """

    def __init__(
        self, seen: Mapping[str, Scope], parameters: ParameterIndex, exact: bool, paths: Mapping[str, str]
    ) -> None:
        self._seen, self._parameters, self._exact, self._paths = seen, parameters, exact, paths
        self.guessed: set[str] = set()
        self._alike: dict[str, list[str]] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._guessed: set[str] = set()  # scopes no call of which reads a parameter that tells the holder

    def module(self, scope: str, head: str, segment: str) -> str | None:
        """The module of ``scope``, which is ``segment`` below ``head``; None where it is not of several holders'."""
        call = split_call(segment)
        found = None
        if call is not None and call[0] in self._seen[head].children:
            found = self._call(scope, head, *call)
        return found if found is not None else self._call(scope, head, segment, 0)

    def _call(self, scope: str, head: str, base: str, count: int) -> str | None:
        """The module of ``scope`` as the call of ``base`` with this number."""
        modules = self._modules(head, base)
        seen = self._seen[scope]
        if not modules and not seen.owners and len(self._alike.get(head, ())) > 1:
            self.guessed.add(scope)  # of one of the like holders, but not of which
        if not count < len(modules):
            return None
        # What is in a further call is below the first one's scope: anything here is of a module of this very name.
        if not all(_is_in(owner, modules[count]) for owner in (seen.owners if count else seen.direct)):
            return None
        if f"{head}/{base}" in self._guessed:
            self.guessed.add(scope)
        return modules[count]

    def _modules(self, head: str, base: str) -> list[str]:
        """The module of each call of ``base`` below ``head``; none where they are not of several holders'."""
        scope = f"{head}/{base}"
        found = self._alike.get(scope)
        if found is None:
            found = self._of_like_heads(head, base) if len(self._alike.get(head, ())) > 1 else self._below(head, base)
            self._alike[scope] = found
        return found

    def _of_like_heads(self, head: str, base: str) -> list[str]:
        """``base`` in each call of several modules, which call it equally often."""
        joined = [join(above, base) for above in self._alike[head]]
        known = [module for module in joined if module in self._parameters.known] or joined
        often, rest = divmod(self._times(head, base, len(known)), len(known))
        if rest or not often:
            return []
        return self._ordered(head, base, [module for module in known for _ in range(often)], sure=True)

    def _below(self, head: str, base: str) -> list[str]:
        here = self._paths[head]
        start = len(here) + 1 if here else 0
        if join(here, base) in self._parameters.known:
            return []
        below = self._parameters.spelled_below(here, base)
        if len(below) < 2:
            return []
        called = self._seen[head].children  # a holder with a scope of its own would be in the name
        below = [path for path in below if not crosses(path, start, called)]
        return self._ordered(head, base, sorted(below, key=_natural), sure=self._exact) if len(below) > 1 else []

    def _ordered(self, head: str, base: str, modules: list[str], *, sure: bool) -> list[str]:
        """``modules`` in the order they are called in, as parameters say; none where they contradict.

        Where calls read none, the modules that are left follow in their own order; where no call reads any, that is a
        guess unless the order is ``sure``.
        """
        calls = self._times(head, base, len(modules))
        told = self._told(head, base, modules, calls)
        if told is None:
            return []
        if None not in told:
            return [module for module in told if module is not None]  # the same may be called again
        if calls != len(modules):
            return []
        if not sure and not any(told):
            self._guessed.add(f"{head}/{base}")
        left = list(modules)
        for module in told:
            if module is not None:
                if module not in left:
                    return []
                left.remove(module)
        rest = iter(left)
        return [next(rest) if module is None else module for module in told]

    def _told(self, head: str, base: str, modules: list[str], calls: int) -> list[str | None] | None:
        """The module of each call by the parameters that are read in it; None where two are."""
        order: list[str | None] = [None] * calls
        first = f"{head}/{base}"
        homes = set(modules)
        inside = [child for child in self._firsts(first) if self._count(first, child) == calls]
        for call in range(calls):
            suffix = f"_{call}" if call else ""
            scopes = (f"{head}/{base}{suffix}", *(f"{first}/{child}{suffix}" for child in inside))
            owners = chain.from_iterable(self._seen[scope].direct for scope in scopes if scope in self._seen)
            for owner in owners:
                home = owner
                while home and home not in homes:
                    home = home.rpartition(".")[0]
                if not home or order[call] not in (None, home):
                    return None
                order[call] = home
        return order

    def _times(self, head: str, base: str, expected: int) -> int:
        """How often the scope ``base`` was entered below ``head``; one without nodes of its own by what is in it."""
        times = self._count(head, base)
        scope = f"{head}/{base}"
        if times == 1 and not self._seen[scope].operators:
            inside = {self._count(scope, child) for child in self._firsts(scope)}
            return expected if expected in inside else max(inside, default=1)
        return times

    def _firsts(self, scope: str) -> list[str]:
        """Children of ``scope`` that are no further call of another."""
        children = self._seen[scope].children
        return sorted(child for child in children if (split_call(child) or ("",))[0] not in children)

    def _count(self, head: str, base: str) -> int:
        found = self._counts.get((head, base))
        if found is None:
            children = self._seen[head].children
            found = 1
            while f"{base}_{found}" in children:
                found += 1
            self._counts[head, base] = found
        return found


def _is_in(path: str, module: str) -> bool:
    return path == module or path.startswith(module + ".")


def _natural(path: str) -> list[tuple[int, str]]:
    """A key that sorts numbers by value; module names may hold digits of other scripts, or very many."""
    atoms = path.split(".")
    return [(int(atom), "") if atom.isascii() and atom.isdecimal() and len(atom) < 19 else (-1, atom) for atom in atoms]
