"""Where values are joined right before a module reads them: in the code that calls this module."""

from __future__ import annotations

from collections.abc import Sequence

from modelexport.passes.evidence.inference.flow import Flow, Kind
from modelexport.passes.evidence.inference.module_tree import ModuleTree, deepest


def joined_in_block(
    flow: Flow, tree: ModuleTree, paths: Sequence[str | None], index: int, up: Sequence[str]
) -> str | None:
    """The block in which a node joins values of modules ``up`` for another module, as a residual sum before a norm.

    Only inside of numbered blocks, and not from one block to the next. Right tags gained, with names and without: bart
    32 and 88, wav2vec2 24 and 91, levit 12 and 36, encoder 10 and 33, qwen3 16 and 32, recurrent 12 and 30. Perceiver
    loses 18 and 42.
    """
    if sum(flow.kind[maker] >= Kind.DATA for maker in flow.before[index]) < 2:
        return None
    readers = {paths[reader] for reader in flow.after[index]}
    candidates = [(tree.common(one, reader), one) for one in up for reader in readers if reader is not None]
    block = deepest(shared for shared, _ in candidates)
    if not block or not _is_numbered(block):
        return None
    ends = (one[len(block) :] for shared, one in candidates if shared == block)
    return None if any(_is_numbered(end) for end in ends) else block


def _is_numbered(path: str) -> bool:
    return any(atom.isdigit() for atom in path.split("."))
