"""The table of modules a model is made of: dotted path to class, calls, aliases and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelexport.ir.modules.module import Module
from modelexport.ir.modules.tags import compute_tags


class ModuleTable:
    """Modules by path. Paths that nobody declared are unknown, not an error: a foreign graph has no table."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._modules: dict[str, Module] = {}
        self._first_names: dict[str, str] = {}  # by alias
        self._others: dict[str, dict[str, None]] = {}  # aliases by first name
        self._tags: dict[str, str] | None = None
        self.version = 0  # counts changes, for those who remember what they derived from the table
        for module in modules:
            self.add(module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __contains__(self, path: object) -> bool:
        return path in self._modules

    def __getitem__(self, path: str) -> Module:
        return self._modules[path]

    def get(self, path: str) -> Module | None:
        """The module at ``path``, or None."""
        return self._modules.get(path)

    def add(self, module: Module) -> Module:
        """Add or replace the module at ``module.path``."""
        self._modules[module.path] = module
        first, others = (module.path, module.aliases) if module.same_as is None else (module.same_as, (module.path,))
        for other in others:
            if self._first_names.setdefault(other, first) == first:
                self._others.setdefault(first, {})[other] = None
        self.touch()
        return module

    def ensure(self, path: str) -> Module:
        """The module at ``path``, added without class information and as called if it is not there yet."""
        found = self._modules.get(path)
        return found if found is not None else self.add(Module(path))

    def canonical(self, path: str) -> str:
        """``path`` where it has a row; the first name of the module that it is another name of, else ``path``."""
        return path if path in self._modules else self._first_names.get(path, path)

    def first_name(self, path: str) -> str:
        """The first name of the module at ``path``."""
        return self._first_names.get(path, path)

    def names(self, path: str) -> tuple[str, ...]:
        """Every known name of the module at ``path``, the first one first."""
        first = self.first_name(path)
        return (first, *self._others.get(first, ()))

    def called_by(self, caller: str, path: str) -> str:
        """The name that the module at ``path`` goes by when ``caller`` calls it: that by which the caller holds it."""
        below = f"{caller}." if caller else ""
        if path.startswith(below) and (path in self._modules or path not in self._first_names):
            return path
        held = [name for name in self.names(path) if name.startswith(below)]
        used = [name for name in held if name in self._modules] or held
        return min(used, key=lambda name: self._called_between(name, len(below)), default=path)

    def _called_between(self, path: str, start: int) -> int:
        return sum(path[end] == "." and self.is_called(path[:end]) for end in range(start, len(path)))

    def uses(self, path: str) -> tuple[str, ...]:
        """The names by which the module at ``path`` was called; its first name where none is known."""
        first = self.first_name(path)
        return tuple(name for name in self.names(first) if self.is_called(name)) or (first,)

    def is_called(self, path: str) -> bool:
        """Whether the module at ``path`` is known and called (a container such as ModuleList is not)."""
        module = self._modules.get(path)
        return module is not None and module.calls > 0

    def parent(self, path: str) -> str | None:
        """Path of the nearest called proper ancestor; None for the root."""
        if not path:
            return None
        head = path.rpartition(".")[0]
        while head and not self.is_called(head):
            head = head.rpartition(".")[0]
        return head

    def lift(self, path: str) -> str:
        """``path`` itself if it is called, else its nearest called ancestor (the root at the last)."""
        while path and not self.is_called(path):
            path = path.rpartition(".")[0]
        return path

    def common(self, paths: Iterable[str]) -> str:
        """Lowest common ancestor of ``paths``, lifted to a called module. Raises ValueError when there are none."""
        return self.lift(common_path(paths))

    def tags(self, torch_nn: bool = True) -> dict[str, str]:
        """Tag of every module, by path. ``torch_nn=False`` collapses torch.nn modules into their user module."""
        if self._tags is None:
            self._tags = compute_tags(self._modules.values(), self.parent)
        if torch_nn:
            return self._tags
        return {path: self._tags[self._outside_torch_nn(path)] for path in self._modules}

    def tag(self, path: str) -> str:
        """Tag of one module; a path that is not in the table is added to it without class information."""
        self.ensure(path)
        return self.tags()[path]

    def touch(self) -> None:
        """Say that a Module was changed in place, so tags are computed anew."""
        self._tags = None
        self.version += 1

    def _outside_torch_nn(self, path: str) -> str:
        while path and self._modules[path].cls.startswith("torch.nn."):
            path = self.parent(path) or ""
        return path if path in self._modules else ""


def nearest_path(path: str, known: Iterable[str]) -> str:
    """The one of ``known`` that is most like ``path``, for messages: by the segments they share, then by spelling."""
    close = list(known)
    atoms = path.split(".")
    for length in range(len(atoms) - 1, 0, -1):
        head = ".".join(atoms[:length])
        inside = [one for one in close if one == head or one.startswith(f"{head}.")]
        if inside:
            close = inside
            break
    close = [one for one in close if one.count(".") == path.count(".")] or close
    return max(close[:10_000], key=lambda one: _likeness(one, path), default="")


def _likeness(left: str, right: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, left, right, autojunk=False).ratio()


def common_path(paths: Iterable[str]) -> str:
    """Longest common dotted prefix of ``paths``. Raises ValueError when there are none."""
    iterator = iter(paths)
    try:
        first = next(iterator)
    except StopIteration:
        raise ValueError("no paths") from None
    common = first.split(".") if first else []
    for path in iterator:
        if not common:
            break
        if path == first:
            continue
        atoms = path.split(".") if path else []
        length = 0
        for left, right in zip(common, atoms, strict=False):
            if left != right:
                break
            length += 1
        common = common[:length]
    return ".".join(common)
