"""Multiply-accumulates of the standard operators: contraction length times output elements.

The convention is that of torch.utils.flop_counter (half of its FLOPs): matrix products, convolutions, recurrences and
attention; masks, causality and padding are not discounted. Elementwise work, norms and Fourier transforms count 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from modelexport.analysis.costing.call import Call, Dims, Uncountable, axis, broadcast

Formula = Callable[[Call], int]


def product(first: Dims, second: Dims) -> int:
    """Of a matrix product with numpy's rules: broadcasting, vectors on either side."""
    if not first or not second:
        raise Uncountable("a matrix product of a scalar")
    length = first[-1]
    inner = second[-2] if len(second) > 1 else second[0]
    if length != inner:
        raise Uncountable(f"shapes {list(first)} and {list(second)} don't fit")
    rows = first[-2] if len(first) > 1 else 1
    columns = second[-1] if len(second) > 1 else 1
    return prod(broadcast(first[:-2], second[:-2])) * rows * columns * length


def matmul(left: int = 0, right: int = 1) -> Formula:
    """A matrix product of two inputs."""
    return lambda call: product(call.dims(left), call.dims(right))


def gemm(left: int = 0, right: int = 1) -> Formula:
    """A product of two matrices, either of them transposed."""

    def work(call: Call) -> int:
        first, second = call.dims(left), call.dims(right)
        if len(first) != 2 or len(second) != 2:
            raise Uncountable(f"shapes {list(first)} and {list(second)} are no matrices")
        return product(
            first[::-1] if call.attribute("transA", 0) else first,
            second[::-1] if call.attribute("transB", 0) else second,
        )

    return work


def conv(weight: int = 1) -> Formula:
    """A convolution of any rank; the weight is (M, C / group, ...) in either layout."""
    return lambda call: prod(call.dims(weight)[1:]) * prod(call.made())


def conv_transpose(call: Call) -> int:
    """The weight is (C, M / group, ...)."""
    return call.size(0) * prod(call.dims(1)[1:])


def recurrence(call: Call) -> int:
    """LSTM, GRU and RNN: every step multiplies with all of W and R; both directions are in their first axis."""
    dims = call.dims(0)
    if len(dims) != 3:
        raise Uncountable("input 0 is not of three dimensions")
    return dims[0] * dims[1] * (call.size(1) + call.size(2))


def einsum(call: Call) -> int:
    """Product of all index sizes, when an index is summed over."""
    equation = str(call.attribute("equation", "")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    sizes: dict[str, int] = {}
    hidden: Dims = ()
    for slot, term in enumerate(terms):
        dims = call.dims(slot)
        before, dots, after = term.partition("...")
        extra = len(dims) - len(before) - len(after)
        if extra < 0 or (extra and not dots):
            raise Uncountable(f"equation {equation} does not fit the shapes")
        names = [*before, *[""] * extra, *after]
        hidden = broadcast(hidden, tuple(size for name, size in zip(names, dims, strict=True) if not name))
        for name, size in zip(names, dims, strict=True):
            if name:
                sizes[name] = max(sizes.get(name, 1), size)
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        right = "..." + "".join(sorted(name for name in sizes if letters.count(name) == 1))
    summed = [name for name in sizes if name not in right] or (hidden and "..." not in right)
    return prod(sizes.values()) * prod(hidden) if summed and len(terms) > 1 else 0


def attention(call: Call) -> int:
    """Attention of opset 23: queries times keys, and the result times values. 4-D inputs are (batch, heads, ...)."""
    query, key, value = call.dims(0), call.dims(1), call.dims(2)
    if len(query) == 4:
        rows, width = prod(query[:3]), query[3]
        length, depth = axis(key, -2, "input 1"), axis(value, -1, "input 2")
    else:
        heads = call.number("q_num_heads")
        rows, width = prod(query[:2]) * heads, axis(query, 2, "input 0") // heads
        length, depth = axis(key, 1, "input 1"), axis(value, 2, "input 2") // call.number("kv_num_heads")
    if call.has(4):
        length += axis(call.dims(4), 2, "input 4")
    return rows * length * (width + depth)


def linear_model(call: Call) -> int:
    """ai.onnx.ml's linear models: every sample is multiplied with every coefficient."""
    dims = call.dims(0)
    coefficients = call.attribute("coefficients")
    if not coefficients:
        raise Uncountable("attribute coefficients is missing")
    return (dims[0] if len(dims) > 1 else 1) * len(coefficients)


def causal_conv(call: Call) -> int:
    """A depthwise convolution over the last axis, (batch, channels, length), with a kernel (channels, 1, k)."""
    return prod(call.made()) * prod(call.dims(1)[1:])


FORMULAS: Mapping[str, Formula] = {
    "MatMul": matmul(),
    "MatMulInteger": matmul(),
    "QLinearMatMul": matmul(0, 3),
    "Gemm": gemm(),
    "Conv": conv(),
    "ConvInteger": conv(),
    "QLinearConv": conv(3),
    "DeformConv": conv(),
    "ConvTranspose": conv_transpose,
    "LSTM": recurrence,
    "GRU": recurrence,
    "RNN": recurrence,
    "Einsum": einsum,
    "Attention": attention,
    "CausalConvWithState": causal_conv,
}
LINEAR_MODELS: Mapping[str, Formula] = {"LinearRegressor": linear_model, "LinearClassifier": linear_model}
