"""JAX by way of TensorFlow: ``jax2tf__lambda__/Net/block_0/query/pjit_add_/AddV2``."""

from __future__ import annotations

import re

from modelexport.passes.evidence.names.schemes.interface import Scope
from modelexport.passes.evidence.names.schemes.tensorflow import TensorFlow

_CONVERTED = re.compile(r"jax2tf_\w*_")
_MODULE = re.compile(r"[A-Za-z_]\w*")
_JITTED = re.compile(r"p?jit_\w*_(?:_\d+)?")


class Jax(TensorFlow):
    """Name scopes of jitted functions: the converter's own and those of jitted helpers are left out."""

    name = "jax"

    def scope(self, name: str, op_type: str) -> Scope | None:
        """See the base class."""
        first = name.partition("/")[0]
        if _CONVERTED.fullmatch(first) is None and not any(map(_JITTED.fullmatch, name.split("/")[:-1])):
            return None
        return super().scope(name, op_type)

    def kept(self, atoms: list[str]) -> tuple[str, ...]:
        """See the base class."""
        atoms = [atom for atom in atoms if not _JITTED.fullmatch(atom)]
        if atoms and _CONVERTED.fullmatch(atoms[0]):
            atoms = atoms[1:]
        return super().kept(atoms)

    def is_inner(self, atom: str) -> bool:
        """See the base class. An equation such as ``...hqk_...khd->...qhd`` is no name of a module."""
        return _MODULE.fullmatch(atom) is None or super().is_inner(atom)
