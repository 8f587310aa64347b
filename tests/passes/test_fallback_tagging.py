"""fallback-tagging: a low-confidence tag for what nothing decided."""

from __future__ import annotations

from modelexport.passes.testing import check


def test_what_is_left_goes_to_the_owner_or_the_root() -> None:
    check(
        "fallback-tagging",
        """
        agraph (float[N] X, bool C) => (float[N] Y) {
            a = If (C) <    # scope: enc scope/node-name 0.99
              then_branch = t () => (float[N] u) {
                u = Relu (X)
              },
              else_branch = e () => (float[N] v) {
                v = Neg (X)    # scope: enc.fc
              }>
            Y = Abs (a)
        }
        """,
        """
        u   enc      fallback/nearest-ancestor
        v   enc.fc   scope
        a   enc      scope/node-name 0.99
        Y   .        fallback/root
        """,
    )


def test_a_graph_without_any_record_goes_to_the_root() -> None:
    model = check(
        "fallback-tagging",
        "agraph (float[N] X) => (float[N] Y) {\n Y = Abs (X)\n}",
        "Y . fallback/root",
    )
    (node,) = model.nodes()
    assert node.attribution is not None
    assert node.attribution.confidence < 0.5
    assert model.modules.tag("") == "/Model"
