"""One case for each rule of attribution, named after it: ``test_rule_<rule>``."""

from __future__ import annotations

from modelexport.passes.testing import check


def test_rule_flattened_product() -> None:
    """Data is flattened to a matrix for a Gemm, and its result gets the shape back: a linear layer's own reshapes."""
    check(
        "context-inheritance",
        """
        agraph (float[2,3,4] X, int64[2] flat, int64[3] back) => (float[2,3,4] Y)
        <float[4,4] W = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
            a = Relu (X)                # scope: act
            m = Reshape (a, flat)
            p = Gemm (m, W)             # scope: block.fc
            r = Reshape (p, back)
            Y = Relu (r)                # scope: act
        }
        """,
        """
        a   act        scope
        m   block.fc   inherited/flattened-product
        p   block.fc   scope
        r   block.fc   inherited/flattened-product
        Y   act        scope
        """,
    )
