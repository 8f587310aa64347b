"""Multiply-accumulates of onnxruntime's own operators (com.microsoft).

Slots and layouts are those of its docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from modelexport.analysis.costing.call import Call, Dims, Uncountable, axis, divided
from modelexport.analysis.costing.work import Formula, conv, conv_transpose, gemm, matmul, product, recurrence


def fused_matmul(call: Call) -> int:
    """FusedMatMul: the last two axes of a side may be swapped, and its first moved to where the rows are."""
    sides = []
    for slot, letter in ((0, "A"), (1, "B")):
        dims = call.dims(slot)
        if call.attribute(f"transBatch{letter}", 0) and len(dims) > 2:
            dims = (*dims[1:-1], dims[0], dims[-1])
        if call.attribute(f"trans{letter}", 0) and len(dims) > 1:
            dims = (*dims[:-2], dims[-1], dims[-2])
        sides.append(dims)
    return product(sides[0], sides[1])


def packed_weight(call: Call) -> int:
    """MatMulNBits and its like: the weight is packed, its sizes are attributes."""
    rows = divided(call.size(0), call.number("K"), "input 0")
    return rows * call.number("K") * call.number("N")


def _products(batch: int, queries: int, keys: int, width: int, depth: int) -> int:
    """Queries times keys and the result times values, over all heads: ``width`` and ``depth`` are head sizes summed."""
    return batch * queries * keys * (width + depth)


def self_attention(weight: int = 1, past: int = 4) -> Formula:
    """Attention and QAttention: the projection of (batch, sequence, input) to Q, K and V, then both products."""

    def work(call: Call) -> int:
        batch, queries, size = _three(call.dims(0), "input 0")
        hidden = divided(call.size(weight), size, f"input {weight}")
        sizes = call.attribute("qkv_hidden_sizes")
        width, depth = (sizes[0], sizes[2]) if sizes else (divided(hidden, 3, "hidden size"),) * 2
        keys = queries + (axis(call.dims(past), 3, f"input {past}") if call.has(past) else 0)
        return batch * queries * size * hidden + _products(batch, queries, keys, width, depth)

    return work


def multi_head(past: int) -> Formula:
    """MultiHeadAttention and its masked decoder: Q, K and V apart or packed, with a cache of past keys."""

    def work(call: Call) -> int:
        query = call.dims(0)
        if len(query) == 5:  # (batch, sequence, heads, 3, head)
            batch, queries, heads, _, size = query
            keys, width, depth = queries, heads * size, heads * size
        else:
            batch, queries, width = _three(query, "input 0")
            if not call.has(1):
                width = divided(width, 3, "hidden size")
                keys, depth = queries, width
            else:
                key = call.dims(1)
                if len(key) == 5:  # (batch, sequence, heads, 2, head)
                    keys, depth = key[1], key[2] * key[4]
                elif len(key) == 4:  # (batch, heads, sequence, head)
                    keys, value = key[2], call.dims(2)
                    depth = axis(value, 1, "input 2") * axis(value, 3, "input 2")
                else:
                    keys, depth = axis(key, 1, "input 1"), axis(call.dims(2), 2, "input 2")
        if call.has(past):
            keys = _with_cache(call, past, keys)
        return _products(batch, queries, keys, width, depth)

    return work


def grouped_query(call: Call) -> int:
    """GroupQueryAttention and SparseAttention: several query heads share a head of keys and values."""
    batch, queries, size = _three(call.dims(0), "input 0")
    heads = call.number("num_heads")
    if call.has(1):
        keys = axis(call.dims(1), 1, "input 1")
    else:  # packed: queries, keys and values in one
        size = divided(size, heads + 2 * call.number("kv_num_heads"), "hidden size") * heads
        keys = queries
    if call.has(3):
        keys = _with_cache(call, 3, keys)
    return _products(batch, queries, keys, size, size)


def _with_cache(call: Call, past: int, keys: int) -> int:
    """Keys with those of the cache. A buffer shared by past and present has its full length in both."""
    before = axis(call.dims(past), 2, f"input {past}")
    if call.makes(1) and len(call.made(1)) == 4:
        return call.made(1)[2]
    return before + keys


def masked_self_attention(call: Call) -> int:
    """DecoderMaskedSelfAttention."""
    return self_attention(1, 4)(call)


def experts(first: int, second: int, third: int, *, quantized: bool = False) -> Formula:
    """MoE and QMoE as they run: each token goes through ``k`` of the experts, whose weights are in the first axis."""

    def work(call: Call) -> int:
        tokens = prod(call.dims(0)[:-1])
        number = axis(call.dims(1), -1, "input 1")
        used = min(call.number("k", 1), number)
        size = sum(call.size(slot) for slot in (first, second, third) if call.has(slot))
        if quantized:
            size = size * 8 // call.number("expert_weight_bits", 4)
        return tokens * used * divided(size, number, "weights of the experts")

    return work


def _three(dims: Dims, what: str) -> tuple[int, int, int]:
    if len(dims) != 3:
        raise Uncountable(f"{what} is not of three dimensions")
    return dims[0], dims[1], dims[2]


FORMULAS: Mapping[str, Formula] = {
    "MatMul": matmul(),
    "FusedMatMul": fused_matmul,
    "TransposeMatMul": fused_matmul,
    "FusedMatMulActivation": fused_matmul,
    "FusedGemm": gemm(),
    "GemmFloat8": gemm(),
    "GemmFastGelu": matmul(),
    "QGemm": gemm(0, 3),
    "FusedConv": conv(),
    "NhwcConv": conv(),
    "NhwcFusedConv": conv(),
    "QLinearConv": conv(3),
    "ConvTransposeWithDynamicPads": conv_transpose,
    "CausalConvWithState": lambda call: prod(call.made()) * prod(call.dims(1)[1:]),
    "MatMulNBits": packed_weight,
    "MatMulBnb4": packed_weight,
    "MatMulInteger16": matmul(),
    "MatMulIntegerToFloat": matmul(),
    "DynamicQuantizeMatMul": matmul(),
    "QOrderedMatMul": matmul(0, 2),
    "SparseToDenseMatMul": fused_matmul,
    "DynamicQuantizeLSTM": recurrence,
    "Attention": self_attention(),
    "QAttention": self_attention(1, 8),
    "MultiHeadAttention": multi_head(6),
    "DecoderMaskedMultiHeadAttention": multi_head(5),
    "DecoderMaskedSelfAttention": masked_self_attention,
    "GroupQueryAttention": grouped_query,
    "SparseAttention": grouped_query,
    "MoE": experts(2, 4, 6),
    "QMoE": experts(2, 5, 8, quantized=True),
}

# Operators of which none multiplies matrices.
_NO_PRODUCT_NAMES = (
    "BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BifurcationDetector BitmaskBiasDropout "
    "BitmaskDropout BranchwiseRMSNorm ComplexMul ComplexMulConj CropAndResize DequantizeBFP DequantizeLinear "
    "DequantizeWithOrder DynamicTimeWarping EmbedLayerNormalization EngramGate ExpandDims FastGelu GatedAdd "
    "GatedRMSNorm GatherBlockQuantized GatherND Gelu GemmaRotaryEmbedding GridSample GroupNorm Irfft "
    "IsAllFinite MRotaryEmbedding MaxpoolWithMask MulInteger MurmurHash3 NGramHashMapping NGramRepeatBlock "
    "NhwcMaxPool Pad QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat "
    "QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax "
    "QLinearWhere QOrderedGelu QOrderedLayerNormalization QuantizeBFP QuantizeLinear QuantizeWithOrder "
    "QuickGelu Range ReduceSumInteger RelativePositionBias RemovePadding RestorePadding Rfft RotaryEmbedding "
    "SampleOp ScaledSiLU SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization "
    "SimplifiedLayerNormalization LayerNormalization Tokenizer TorchEmbedding Trilu UnfoldTensor Unique "
    "VarlenNGramHashMapping BeamSearch GreedySearch Sampling WhisperBeamSearch"
)
NO_PRODUCT = frozenset(_NO_PRODUCT_NAMES.split())
