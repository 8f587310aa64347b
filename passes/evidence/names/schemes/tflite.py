"""TensorFlow Lite: an operator bears all names it was fused of, ``net/act/Relu;net/conv/BiasAdd;net/conv/Conv2D1``.

The operation that comes last in the graph is named first. Names of other operators stand in between where a constant
is shared, so the last one that names this operator is its own.
"""

from __future__ import annotations

from modelexport.passes.evidence.names.schemes.agreement import agrees
from modelexport.passes.evidence.names.schemes.interface import Scope
from modelexport.passes.evidence.names.schemes.tensorflow import TensorFlow

_READING = frozenset(("ReadVariableOp", "Read", "resource"))


class TensorFlowLite(TensorFlow):
    """Name scopes joined by semicolons."""

    name = "tflite"

    def scope(self, name: str, op_type: str) -> Scope | None:
        """See the base class."""
        if ";" not in name:
            return super().scope(name, op_type)
        read = [found for part in name.split(";") if (found := super(TensorFlowLite, self).scope(part, op_type))]
        read = [found for found in read if found.operator.rstrip("_0123456789") not in _READING] or read
        own = [found for found in read if agrees(found.operator.rstrip("0123456789"), op_type)]
        return own[-1] if own else read[0] if read else None

    def after(self, name: str, op_type: str) -> Scope | None:
        """See the base class. An activation that was fused is named first."""
        first = super().scope(name.partition(";")[0], op_type)
        return first if first is not None and agrees(first.operator, op_type) else None

    def weight(self, name: str) -> tuple[str, ...] | None:
        """See the base class."""
        return super().weight(name) if ";" not in name else None
