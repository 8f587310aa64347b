"""Whether the operation that a name ends in can be the operator that bears it."""

from __future__ import annotations

import re
from functools import cache

_NUMBER = re.compile(r"(?:_?\d+)+$")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What frameworks call operators whose ONNX name doesn't show it.
_ALSO = {
    "Conv": "biasadd fusedbatchnorm batchnorm",
    "ConvTranspose": "conv2dbackpropinput biasadd deconv",
    "Gemm": "matmul biasadd add dense linear",
    "MatMul": "einsum tensordot dot conv",
    "BatchNormalization": "fusedbatchnorm batchnorm",
    "Unsqueeze": "expanddims newaxis",
    "Gather": "embeddinglookup stridedslice getitem",
    "Sub": "squareddifference",
    "Mul": "squareddifference square truediv selectv",
    "Div": "truediv realdiv",
    "Add": "biasadd selectv",
    "Sqrt": "rsqrt",
    "Reciprocal": "rsqrt",
    "GlobalAveragePool": "mean avgpool",
    "GlobalMaxPool": "max",
    "AveragePool": "avgpool",
    "ReduceProd": "prod",
    "Expand": "broadcastto tile",
    "Loop": "while",
    "Cast": "tofloat toint",
    "And": "logicaland",
    "Or": "logicalor",
    "Not": "logicalnot selectv",
    "Clip": "relu clipbyvalue minimum maximum",
    "Identity": "readvariableop",
    "LeakyRelu": "leakyrelu",
    "Resize": "resize upsample",
    "Upsample": "resize upsample",
    "Slice": "stridedslice split",
    "Where": "select",
    "Flatten": "reshape",
    "LSTM": "lstm rnn",
    "GRU": "gru rnn",
}


@cache
def agrees(operator: str, op_type: str) -> bool:
    """Whether ``operator``, the last atom of a name, tells of an operator of type ``op_type``."""
    if _WORD.fullmatch(operator) is None:
        return False
    word = _NUMBER.sub("", operator).replace("_", "").lower()
    if not word:
        return False
    own = op_type.lower()
    plain = own.removeprefix("reduce")
    return plain in word or word in own or any(each in word for each in _ALSO.get(op_type, "").split())
