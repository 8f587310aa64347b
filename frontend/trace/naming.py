"""Names of module instances: all of them, and which one a call goes by."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import NamedTuple, TypeVar

import torch

from modelexport.ir.modules import Module, ModuleTable

T = TypeVar("T")
ALIAS_LIMIT = 20_000
COMPILED = "_orig_mod"  # what torch.compile registers the module under that it wraps


class ByIdentity(MutableMapping[torch.nn.Module, T]):
    """A dict of modules, of which two that compare equal are two: a class may say what is equal."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[torch.nn.Module, T]] = {}

    def __getitem__(self, module: torch.nn.Module) -> T:
        return self._held[id(module)][1]

    def __setitem__(self, module: torch.nn.Module, value: T) -> None:
        self._held[id(module)] = (module, value)

    def __delitem__(self, module: torch.nn.Module) -> None:
        del self._held[id(module)]

    def __contains__(self, module: object) -> bool:
        return id(module) in self._held

    def __iter__(self) -> Iterator[torch.nn.Module]:
        return (module for module, _ in self._held.values())

    def __len__(self) -> int:
        return len(self._held)


class Frame(NamedTuple):
    """A module call: the instance, and the path that this call goes by."""

    module: torch.nn.Module
    path: str


class ModuleNames:
    """The paths of a model's modules. What ``torch.compile`` wraps goes by the wrapper's name, which has none itself.

    Attributes:
        paths: every module with all its dotted paths, in the order of ``named_modules()``, whose name comes first.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.paths = module_paths(model)
        self._used: dict[tuple[int, str], str] = {}
        self._by_path: dict[str, torch.nn.Module] | None = None

    def first(self, module: torch.nn.Module) -> str | None:
        """The first name of ``module``; None where it is not registered in the model."""
        names = self.paths.get(module)
        return names[0] if names else None

    def called(self, module: torch.nn.Module, caller: str) -> str | None:
        """The path that a call of ``module`` goes by when the module whose call went by ``caller`` makes it.

        That is the name by which the caller holds it, at any depth below itself; of several the first of those with the
        fewest modules on the way that can be called. Where the caller does not hold it, it is its first name in the
        model. None where it has no name: the caller itself runs it.
        """
        names = self.paths.get(module)
        if not names:
            return None
        if len(names) == 1:
            return names[0]
        key = (id(module), caller)
        found = self._used.get(key)
        if found is None:
            below = f"{caller}." if caller else ""
            held = [name for name in names if name.startswith(below)]
            found = self._used[key] = min(held, key=lambda name: self._distance(name, len(below)), default=names[0])
        return found

    def _distance(self, path: str, start: int) -> int:
        """Number of modules that can be called on the way to ``path``, from its character ``start`` on."""
        between = (self.at(path[:end]) for end in range(start, len(path)) if path[end] == ".")
        return sum(module is not None and has_forward(module) for module in between)

    def of_stack(self, modules: Iterable[torch.nn.Module]) -> str:
        """The path of the innermost of ``modules``, each of which was called by the one before it."""
        path = ""
        for module in modules:
            path = self.called(module, path) or path
        return path

    def at(self, path: str) -> torch.nn.Module | None:
        """The module that any of its names is ``path``."""
        if self._by_path is None:
            self._by_path = {name: module for module, names in self.paths.items() for name in names}
        return self._by_path.get(path)

    def listed_above(self, path: str, listed: Container[torch.nn.Module]) -> str:
        """The nearest module above ``path`` that is in ``listed``."""
        while path:
            path = path.rpartition(".")[0]
            if self.at(path) in listed:
                break
        return path

    def of_names(self, names: Iterable[str]) -> str | None:
        """The path of the innermost of modules that are given by any of their names, outermost first.

        None where one of them is no module of the model.
        """
        modules = [self.at(transparent(name)) for name in names]
        return None if None in modules else self.of_stack(module for module in modules if module is not None)

    def table(self, calls: Mapping[str, int] | None = None) -> ModuleTable:
        """The module table. Without ``calls``, what has a forward of its own counts as called once."""
        return module_table(self.paths, calls)


def scripted_modules(names: ModuleNames) -> tuple[str, ...]:
    """The scripted modules that can be called: their calls are no Python calls, so nobody can watch them."""
    return tuple(
        paths[0]
        for module, paths in names.paths.items()
        if isinstance(module, torch.jit.ScriptModule) and hasattr(module, "forward") and hasattr(module, "_c")
        if module._c._has_method("forward")
    )


def module_paths(model: torch.nn.Module) -> ByIdentity[list[str]]:
    """Every module with all its dotted paths, in the order of ``named_modules()``, whose name for it comes first.

    A path never passes an instance twice. After 20 000 further names each module only gets its first.
    """
    found: ByIdentity[list[str]] = ByIdentity()
    stack: list[tuple[torch.nn.Module, str, frozenset[int]]] = [(model, "", frozenset())]
    budget = ALIAS_LIMIT
    while stack:
        module, path, ancestors = stack.pop()
        module = unwrapped(module)
        if id(module) in ancestors:
            continue
        names = found.setdefault(module, [])
        if names:
            budget -= 1
            if budget < 0:
                continue
        names.append(path)
        inside = ancestors | {id(module)}
        children = [(name, child) for name, child in module._modules.items() if child is not None]
        for name, child in reversed(children):
            if id(child) not in inside:
                stack.append((child, f"{path}.{name}" if path else name, inside))
    return found


def module_table(paths: Mapping[torch.nn.Module, Sequence[str]], calls: Mapping[str, int] | None = None) -> ModuleTable:
    """The module table: a row for every module under its first name, and one for every other name it was called by.

    Without ``calls``, counted by path, what has a forward of its own counts as called once.
    """
    table = ModuleTable()
    for module, names in paths.items():
        cls, class_name = class_of(module)
        first, *others = names
        table.add(
            Module(
                path=first,
                cls=cls,
                calls=calls.get(first, 0) if calls is not None else int(has_forward(module)),
                aliases=tuple(others),
                parameters=sum(_numel(parameter) for parameter in module._parameters.values()),
                class_name=class_name,
            )
        )
        for name in others:
            if calls is not None and calls.get(name):
                table.add(Module(name, cls, calls[name], class_name=class_name, same_as=first))
    return table


def class_of(module: torch.nn.Module) -> tuple[str, str]:
    """Qualified and bare name of a module's class; a scripted module is of the class that was scripted."""
    kind = type(module)
    if isinstance(module, torch.jit.ScriptModule):
        original = getattr(module, "original_name", "")
        if isinstance(original, str) and original:
            return original, original
    return f"{kind.__module__}.{kind.__qualname__}", kind.__name__


def has_forward(module: torch.nn.Module) -> bool:
    """Whether the module can be called: ModuleList, ModuleDict and the bare Module can't."""
    forward = getattr(type(module), "forward", None)
    return forward is not None and forward is not torch.nn.Module.forward


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The module that ``torch.compile`` wrapped, else ``module`` itself."""
    while type(module).__name__ == "OptimizedModule" and COMPILED in module._modules:
        inner = module._modules[COMPILED]
        if inner is None or inner is module:
            break
        module = inner
    return module


def transparent(path: str) -> str:
    """``path`` without the atoms that ``torch.compile`` puts into it."""
    if COMPILED not in path:
        return path
    return ".".join(atom for atom in path.split(".") if atom != COMPILED)


def _numel(parameter: torch.nn.Parameter | None) -> int:
    if parameter is None or isinstance(parameter, torch.nn.parameter.UninitializedParameter):
        return 0
    return parameter.numel()
