"""Cases of passes, each a file that reads as documentation: ``tests/cases/*.onnxtxt``.

A file is a model as ``modelexport.passes.testing`` reads it, with two more kinds of comment lines. ``# RUN: PIPELINE``
is what runs on the model; ``# CHECK: NODE PATH SOURCE/RULE`` lines after it are the attributions of all its nodes then
(``...`` lets the others be anything). Several RUN lines each start from the model as it stands in the file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from modelexport.passes import PassManager, Pipeline
from modelexport.passes.testing import assert_attributions, make_model

CASES = sorted(Path(__file__).parent.glob("*.onnxtxt"))
RUN, CHECK = "# RUN:", "# CHECK:"


def parts(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The model, and each pipeline with its table."""
    model: list[str] = []
    runs: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith(RUN):
            runs.append((line.removeprefix(RUN).strip(), []))
        elif line.startswith(CHECK):
            assert runs, f"{line}: there is no {RUN} line before it"
            runs[-1][1].append(line.removeprefix(CHECK))
        else:
            model.append(line)
    return "\n".join(model), [(pipeline, "\n".join(table)) for pipeline, table in runs]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_case(case: Path) -> None:
    text, runs = parts(case.read_text("utf-8"))
    assert runs, f"{case.name}: no {RUN} line"
    for pipeline, table in runs:
        assert table, f"{case.name}: {pipeline}: no {CHECK} line"
        steps = Pipeline.parse(pipeline)
        model = make_model(text)
        PassManager(steps, assume={fact for step in steps for fact in step.requires}).run(model)
        assert_attributions(model, table)


def test_a_wrong_case_fails() -> None:
    text, [(pipeline, table)] = parts(f"g (float[N] X) => (float[N] Y) {{ Y = Relu (X) }}\n{RUN} x\n{CHECK} Y enc\n")
    assert (text, pipeline, table) == ("g (float[N] X) => (float[N] Y) { Y = Relu (X) }", "x", " Y enc")
    with pytest.raises(AssertionError, match="attributions differ"):
        assert_attributions(make_model(text), table)
