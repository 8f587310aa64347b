"""Which module the name of an initializer says."""

from __future__ import annotations

import pytest

from modelexport.passes.evidence.names.parameters import owner_of


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("encoder.layer.0.query.weight", "encoder.layer.0.query"),
        ("net.scale.1", "net"),  # an element of a ParameterList
        ("weight", None),
        ("https://a.b", None),
        ("ConvBnFusion_W_main.0.weight", "main.0"),
        ("ConvBnFusion_BN_B_main.1.bias", "main.1"),
        ("ConvMulFusion_Mul_B_main.1.bias", "main.1"),
        ("MatMulBnFusion_W_fc.weight", "fc"),
    ],
)
def test_owner_of(name: str, owner: str | None) -> None:
    assert owner_of(name) == owner
