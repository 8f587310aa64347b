"""What the scopes of a model may know of it: the source, the modules, the warnings and the count of edits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar, cast

import onnx

from modelexport.ir.modules import ModuleTable
from modelexport.ir.text import text

Derived = TypeVar("Derived")


class DataHome:
    """A folder that external data is in, for a model whose data is not beside a file of the user's.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def remove(self) -> None:
        """Remove the folder, if it was made for the model."""


class ModelState:
    """The part of a model that is below its scopes.

    ``proto`` is the source and stays the truth for everything that no pass changed; it is not to be edited.

    Attributes:
        path: the file it was read from, or None.
        modules: what is known of the modules; empty for a foreign graph until a pass fills it.
        warnings: findings of the reader, of passes and of the writer that a user should see, one line each.
        patch: model metadata to set, or with None to remove; see patch_metadata.
        revision: counts edits of structure.
        verified: the revision that the verifier last found right; the reader's own is 0.
        gathers_data: whether this is a piece of what is in its file, so that saving it gathers the external data that
            it uses in one new file instead of copying whole files.
        data_home: where its external data is, if that is not the folder of ``path``; saving it gathers that data too.
        key_lists: the distinct lists of metadata keys that nodes have; see Node.source_keys.
    """

    def __init__(self, proto: onnx.ModelProto, path: Path | None = None) -> None:
        self.proto = proto
        self.path = path
        self.modules = ModuleTable()
        self.warnings: list[str] = []
        self.patch: dict[str, str | None] = {}
        self.key_lists: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.revision = 0
        self.verified = 0
        self.gathers_data = False
        self.data_home: DataHome | None = None
        self._derived: dict[Callable[..., object], tuple[int, object]] = {}

    def derived(self, compute: Callable[[Self], Derived]) -> Derived:
        """What ``compute`` makes of the names and the structure of this model, computed once until they change.

        ``compute`` may look at nothing else, and nobody may change what it returns.
        """
        found = self._derived.get(compute)
        if found is None or found[0] != self.revision:
            found = self._derived[compute] = (self.revision, compute(self))
        return cast("Derived", found[1])

    def forget_derived(self) -> None:
        """Called by who changes a name of a node, which is no edit of the structure."""
        self._derived.clear()

    @property
    def base_dir(self) -> Path | None:
        """Folder that external data locations are relative to; None for a model without a file."""
        if self.data_home is not None:
            return self.data_home.folder
        return self.path.parent if self.path is not None else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """Model metadata as it will be written: the source's entries under the patch."""
        merged: dict[str, str] = {text(entry.key): text(entry.value) for entry in self.proto.metadata_props}
        for key, value in self.patch.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
        return merged

    def patch_metadata(self, changes: Mapping[str, str | None]) -> None:
        """Set keys, or remove those given as None."""
        self.patch.update(changes)
