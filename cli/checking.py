"""onnx.checker on a model that may have data in other files, and onnxruntime where onnx does not know an operator."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelexport.ir.model import Model


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: the problem, "" where there is none; who says so; what a user should know of the check."""

    problem: str = ""
    by: str = "onnx.checker"
    note: str = ""


class Written:
    """A model as it would be written, and what a check needs to know of it: the model itself may be let go.

    Args:
        model: the model.
        data: its bytes, where they are known; written anew unless given.
        by_onnxruntime: whether a tool of onnxruntime's was at work.
    """

    def __init__(self, model: Model, data: bytes | None = None, *, by_onnxruntime: bool = False) -> None:
        from modelexport.ir.io.writer import to_bytes

        self.data = to_bytes(model) if data is None else data
        self.unknown = _unknown_operators(model)
        self.by_onnxruntime = by_onnxruntime
        self.base_dir = model.base_dir
        self.label = str(model.path or "the model")

    def check(self) -> Checked:
        """Check it.

        Operators that only onnxruntime defines in the default domain are unknown to onnx.checker: where there are any,
        onnxruntime opens the model instead, or, where it is not installed, nothing is checked. Nodes that a tool of
        onnxruntime's left out of order are for onnxruntime, which orders them itself: it opens the model then.
        """
        if self.unknown:
            return self._opened(f"onnx.checker does not know {', '.join(self.unknown)}")
        import onnx

        problem = ""
        with contextlib.ExitStack() as stack:
            if self.base_dir is not None:  # where references to external data are relative to
                stack.enter_context(contextlib.chdir(os.fspath(self.base_dir)))
            try:
                onnx.checker.check_model(self.data)
            except (onnx.checker.ValidationError, ValueError) as error:
                problem = " ".join(str(error).split())
        if self.by_onnxruntime and problem.startswith(_UNSORTED):
            found = self._opened("onnx.checker wants nodes in order, which the pass sort-nodes puts them into")
            return found if found.by == "onnxruntime" else Checked(problem)
        return Checked(problem)

    def _opened(self, reason: str) -> Checked:
        from modelexport.ir.errors import InputError
        from modelexport.passes.running.session import SessionSettings, has_onnxruntime, open_session

        if not has_onnxruntime():
            return Checked(note=f"{reason}: not checked (pip install 'modelexport[ort]' lets onnxruntime open it)")
        try:
            open_session(self.data, SessionSettings(), self.base_dir, self.label)
        except InputError as error:
            return Checked(str(error), "onnxruntime", f"{reason}: opened with onnxruntime instead")
        return Checked(by="onnxruntime", note=f"{reason}: opened with onnxruntime instead")


def check_model(model: Model, *, by_onnxruntime: bool = False) -> Checked:
    """Check ``model`` as it would be written; ``by_onnxruntime`` says that one of its tools was at work."""
    return Written(model, by_onnxruntime=by_onnxruntime).check()


def _unknown_operators(model: Model) -> list[str]:
    import onnx.defs

    found = {node.op_type for node in model.nodes() if node.domain in ("", "ai.onnx")}
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    return sorted(found & _ONLY_IN_ONNXRUNTIME - known)


_UNSORTED = "Nodes in a graph must be topologically sorted"
# Operators that onnxruntime's optimisers make in the default domain, where onnx has none of that name.
_ONLY_IN_ONNXRUNTIME = frozenset({"SimplifiedLayerNormalization", "SimplifiedLayerNormalizationGrad"})
