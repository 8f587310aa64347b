"""coverage-validation: bounds on what is untagged, guessed or uncertain."""

from __future__ import annotations

import pytest

from modelexport.ir.errors import ConfigError, CoverageValidationError
from modelexport.passes.coverage_validation import CoverageValidation
from modelexport.passes.testing import make_model, run_pass

_TEXT = """
agraph (float[N] X) => (float[N] Y) {
    [one] a = Relu (X)    # scope: enc scope/node-name 0.99
    [two] b = Relu (a)    # scope: . fallback/root 0.10
    [three] c = Relu (b)
    Y = Relu (c)          # scope: enc inherited/x 0.60
}
"""


def test_the_default_wants_every_node() -> None:
    with pytest.raises(CoverageValidationError, match=r"75\.0% of 4 nodes are tagged.*three") as caught:
        run_pass("coverage-validation", make_model(_TEXT))
    assert len(caught.value.offending) == 1
    assert "three" in caught.value.offending[0]


def test_bounds_that_hold_report_counts() -> None:
    result = run_pass("coverage-validation{min-coverage=0.75 max-fallback=0.25}", make_model(_TEXT))
    assert result.notes["by source"] == {"scope": 1, "fallback": 1, "inherited": 1}
    assert result.notes["coverage"] == 0.75
    assert result.changed == 0


def test_too_much_fallback_names_the_nodes() -> None:
    with pytest.raises(CoverageValidationError, match=r"25\.0% of 4 nodes have only a fallback tag.*two"):
        run_pass("coverage-validation{min-coverage=0 max-fallback=0.2}", make_model(_TEXT))


def test_confidence_counts_per_node() -> None:
    with pytest.raises(CoverageValidationError, match="2 of 4 nodes") as caught:
        run_pass("coverage-validation{min-coverage=0 min-confidence=0.7}", make_model(_TEXT))
    assert len(caught.value.offending) == 2


def test_the_message_names_only_the_first_few() -> None:
    lines = "\n".join(f"[n{i}] v{i + 1} = Relu (v{i})" for i in range(9))
    text = f"agraph (float[N] v0) => (float[N] v9) {{\n{lines}\n}}"
    with pytest.raises(CoverageValidationError, match="and 6 more") as caught:
        run_pass("coverage-validation", make_model(text))
    assert len(caught.value.offending) == 9


def test_a_bound_outside_0_to_1_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"min-coverage=1\.5"):
        CoverageValidation(min_coverage=1.5)


def test_an_empty_graph_is_covered() -> None:
    result = run_pass("coverage-validation", make_model("agraph (float[N] X) => (float[N] X) { }"))
    assert result.notes["coverage"] == 1.0
