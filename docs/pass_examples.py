"""The models of docs/pictures/passes: for every pass a small one that shows what it does.

The text is that of ``modelexport.passes.testing``: node names in brackets, and comments that say what is on record.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """What the picture of a pass shows.

    Attributes:
        model: the model as text.
        run: the pass with its options.
        first: a pipeline that runs before the left picture is drawn.
        show: what the boxes say beside operator and module: "names", "weights", "metadata", "shapes".
        reference: text of a tagged model that the pass is given with ``--reference``.
    """

    model: str
    run: str
    first: str = "none"
    show: tuple[str, ...] = ()
    reference: str = ""


NAMED = """
# module: . my.Net
# module: enc my.Encoder
# module: head torch.nn.Linear
g (float[2,4] x) => (float[2,4] y)
<float[4,4] "enc.w" = {1,2,0,1,3,1,0,2,0,1,1,0,2,0,1,1}, float[4,4] "head.w" = {2,1,0,3,0,1,2,0,1,0,1,0,4,0,0,1}>
{
    ["/enc/MatMul"] a = MatMul (x, "enc.w")
    ["/enc/Relu"] b = Relu (a)
    ["/head/MatMul"] y = MatMul (b, "head.w")
}
"""
PLACED = """
# module: . my.Net
# module: enc my.Encoder
# module: head torch.nn.Linear
g (float[2,4] x) => (float[2,4] y)
<float[4,4] "enc.w" = {1,2,0,1,3,1,0,2,0,1,1,0,2,0,1,1}, float[4,4] "head.w" = {2,1,0,3,0,1,2,0,1,0,1,0,4,0,0,1}>
{
    ["/enc/MatMul"] a = MatMul (x, "enc.w")       # scope: enc
    ["/enc/Relu"] b = Relu (a)                  # scope: enc
    ["/head/MatMul"] y = MatMul (b, "head.w")     # scope: head
}
"""
SHARED = """
# module: . my.Net
# module: enc my.Encoder
# module: head torch.nn.Linear
g (float[2,4] x) => (float[2,4] y)
{
    ["/enc/Relu"] a = Relu (x)                  # scope: enc
    ["/enc/Mul"] b = Mul (a, a)                 # scope: enc
    ["/head/Mul"] y = Mul (b, a)                # scope: head
}
"""
GAPS = """
# module: . my.Net
# module: enc my.Encoder
# module: head torch.nn.Linear
g (float[2,4] x) => (float[2,4] y)
<float[4,4] "head.w" = {1,2,0,1,3,1,0,2,0,1,1,0,2,0,1,1}>
{
    one = Constant <value = float {1}> ()
    a = Add (x, one)                            # scope: enc
    b = Identity (a)
    y = MatMul (b, "head.w")                      # scope: head
}
"""
UNDECIDED = """
# module: . my.Net
# module: enc my.Encoder
g (float[2,4] x) => (float[2,4] y)
{
    ["/enc/Relu"] a = Relu (x)                  # scope: enc
    [fused_7] y = Exp (a)
}
"""
BARE = """
# module: . my.Net
# module: enc my.Encoder
# module: head torch.nn.Linear
g (float[2,4] x) => (float[2,4] y)
<float[4,4] "enc.w" = {1,2,0,1,3,1,0,2,0,1,1,0,2,0,1,1}, float[4] "head.bias" = {1,2,3,4}>
{
    [n0] a = MatMul (x, "enc.w")
    [n1] b = Relu (a)
    [n2] y = Add (b, "head.bias")
}
"""
OPTIMISED = """
g (float[2,4] x) => (float[2,4] y)
<float[4,4] "enc.w" = {1,2,0,1,3,1,0,2,0,1,1,0,2,0,1,1}, float[4,4] w1 = {2,1,0,3,0,1,2,0,1,0,1,0,4,0,0,1}>
{
    ["/enc/MatMul"] a = MatMul (x, "enc.w")
    [fused_1] b = Relu (a)
    ["/head/MatMul/AddFusion/"] y = MatMul (b, w1)
}
"""
CONSTANTS = """
# module: . my.Net
# module: enc my.Encoder
g (float[2,4] x) => (float[4,2] y)
{
    four = Constant <value = int64[1] {4}> ()   # scope: enc
    half = Constant <value = int64[1] {2}> ()   # scope: enc
    size = Concat <axis = 0> (four, half)       # scope: enc
    y = Reshape (x, size)                       # scope: enc
}
"""
TWICE = """
# module: . my.Net
# module: enc my.Encoder
# module: dec my.Decoder
g (float[2,4] x) => (float[2,4] y)
{
    c1 = Constant <value = float[1] {2}> ()     # scope: enc
    a = Mul (x, c1)                             # scope: enc
    c2 = Constant <value = float[1] {2}> ()     # scope: enc
    b = Add (a, c2)                             # scope: enc
    c3 = Constant <value = float[1] {2}> ()     # scope: dec
    y = Mul (b, c3)                             # scope: dec
}
"""
FUSIBLE = """
# module: . my.Net
# module: fc torch.nn.Linear
# module: fc2 torch.nn.Linear
g (float[2,4] x) => (float[2,4] y)
<float[4,4] "fc.w" = {1,2,0,1,3,1,0,2,0,1,1,0,2,0,1,1}, float[4] "fc.b" = {1,2,3,4}>
{
    ["/fc/MatMul"] a = MatMul (x, "fc.w")         # scope: fc
    ["/fc/Add"] b = Add (a, "fc.b")               # scope: fc
    ["/Identity"] c = Identity (b)              # scope: .
    ["/Relu"] y = Relu (c)                      # scope: .
}
"""
WITH_SHAPES = """
# module: . my.Net
# module: enc my.Encoder
g (float[2,4] x) => (float[2,4] y) <float[2,4] a, float[2,4] b>
{
    ["/enc/Exp"] a = Exp (x)                    # scope: enc
    ["/enc/Relu"] b = Relu (a)                  # scope: enc
    ["/Neg"] y = Neg (b)                        # scope: .
}
"""
UNNAMED = """
# module: . my.Net
# module: enc my.Encoder
# module: head torch.nn.Linear
g (float[2,4] x) => (float[2,4] y)
{
    [n0] a = Exp (x)                            # scope: enc
    [n1] b = Exp (a)                            # scope: enc
    [n2] y = Neg (b)                            # scope: head
}
"""
GELU = """
# module: . my.Net
# module: act torch.nn.GELU
# module: norm torch.nn.LayerNorm
g (float[2,4] x) => (float[2,4] y)
<float root = {1.4142135}, float one = {1}, float half = {0.5}>
{
    ["/act/Div"] a = Div (x, root)              # scope: act
    ["/act/Erf"] b = Erf (a)                    # scope: act
    ["/act/Add"] c = Add (b, one)               # scope: act
    ["/act/Mul"] d = Mul (x, c)                 # scope: act
    ["/act/Mul_1"] y = Mul (d, half)            # scope: act
}
"""
OLDER = """<ir_version: 8, opset_import: ["" : 17]>
# module: . my.Net
# module: enc my.Encoder
g (float[2,4] x) => (float[2,1] y)
{
    ["/enc/Exp"] a = Exp (x)                    # scope: enc
    ["/enc/ReduceMean"] y = ReduceMean <axes = [1]> (a)     # scope: enc
}
"""
EXAMPLES: dict[str, Example] = {
    "scope-attribution": Example(NAMED, "scope-attribution", show=("names",)),
    "reference-attribution": Example(OPTIMISED, "reference-attribution", show=("names",), reference=PLACED),
    "value-attribution": Example(OPTIMISED, "value-attribution", show=("names",), reference=PLACED),
    "parameter-attribution": Example(BARE, "parameter-attribution", show=("weights",)),
    "context-inheritance": Example(GAPS, "context-inheritance"),
    "fallback-tagging": Example(UNDECIDED, "fallback-tagging", show=("names",)),
    "coverage-validation": Example(UNDECIDED, "coverage-validation", first="fallback-tagging"),
    "attribute-embedding": Example(UNNAMED, "attribute-embedding", show=("metadata",)),
    "strip-tags": Example(UNNAMED, "strip-tags", first="attribute-embedding", show=("metadata",)),
    "extract-module": Example(PLACED, "extract-module{paths=enc}", show=("names", "weights")),
    "node-naming": Example(UNNAMED, "node-naming", show=("names",)),
    "layer-annotation": Example(UNNAMED, "layer-annotation{depth=1}", show=("metadata",)),
    "drop-value-info": Example(WITH_SHAPES, "drop-value-info", show=("shapes",)),
    "sort-nodes": Example(SHARED, "sort-nodes", first='float16{keep-io=true block="op:Mul"}', show=("names",)),
    "ort-optimize": Example(FUSIBLE, "ort-optimize{level=extended}", show=("names",)),
    "ort-transformers": Example(GELU, "ort-transformers{model-type=bert}", show=("names",)),
    "onnxslim": Example(FUSIBLE, "onnxslim", show=("names",)),
    "onnxsim": Example(FUSIBLE, "onnxsim", show=("names",)),
    "onnxscript-optimize": Example(CONSTANTS, "onnxscript-optimize"),
    "convert-version": Example(OLDER, "convert-version{opset=18}"),
    "float16": Example(PLACED, "float16", show=("weights",)),
    "quantize-dynamic": Example(PLACED, "quantize-dynamic", show=("weights",)),
    "quantize-static": Example(PLACED, "quantize-static", show=("weights",)),
    "quantize-weights": Example(PLACED, "quantize-weights{block-size=16}", show=("weights",)),
    "constant-folding": Example(CONSTANTS, "constant-folding"),
    "constant-deduplication": Example(TWICE, "constant-deduplication"),
}
