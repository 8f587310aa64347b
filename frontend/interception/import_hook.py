"""Being told when modules are imported, without importing them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any

Arrived = Callable[[ModuleType], None]


class ImportHook:
    """Calls ``arrived(module)`` for each of ``names``: at once where it is imported already, else right after it was.

    It finds nothing itself: the finders behind it do, and what the module keeps of its import is theirs.
    """

    def __init__(self, names: Iterable[str], arrived: Arrived) -> None:
        self.names = frozenset(names)
        self._arrived = arrived

    def install(self) -> None:
        """Begin."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        for name in self.names:
            module = sys.modules.get(name)
            if module is not None and not _is_being_imported(module):
                self._arrived(module)

    def remove(self) -> None:
        """End; what was told stays told."""
        with suppress(ValueError):
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec that the next finders have; for our names its loader tells us when it is done."""
        if name not in self.names:
            return None
        for finder in list(sys.meta_path):
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec: Any = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)
                return spec
        return None

    def told(self, module: ModuleType) -> None:
        """A module was imported."""
        if self in sys.meta_path:
            self._arrived(module)


class _Loader:
    """Stands for a loader until the module is there, and gives way to it."""

    def __init__(self, loader: Any, hook: ImportHook) -> None:
        self._loader = loader
        self._hook = hook

    def create_module(self, spec: Any) -> Any:
        create = getattr(self._loader, "create_module", None)
        return create(spec) if create is not None else None

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        spec: Any = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        self._loader.exec_module(module)
        self._hook.told(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _is_being_imported(module: ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False))
