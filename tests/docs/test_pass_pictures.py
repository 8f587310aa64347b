"""Every pass has a picture of a small model before and after it, and the picture is what the pass does today."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelexport.passes.pipeline.registry import PASSES, Registry
from modelexport.passes.tools.base import ToolPass

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))
try:
    import generate_pass_pictures as pictures
finally:
    sys.path.remove(str(DOCS))

CLASSES = {name: Registry(PASSES, {}).find(name) for name in PASSES}
OWN = [name for name, cls in CLASSES.items() if isinstance(cls, type) and not issubclass(cls, ToolPass)]


def test_every_pass_has_a_picture_on_its_page() -> None:
    assert pictures.EXAMPLES.keys() == PASSES.keys()
    assert {path.stem for path in pictures.FOLDER.iterdir()} == PASSES.keys()
    for name in PASSES:
        assert f"](../pictures/passes/{name}.svg)" in (DOCS / "passes" / f"{name}.md").read_text("utf-8")


@pytest.mark.parametrize("name", OWN)
def test_the_picture_is_of_today(name: str) -> None:
    """What another tool does depends on its version, so that only our own passes are drawn anew."""
    written = (pictures.FOLDER / f"{name}.svg").read_text("utf-8")
    assert pictures.drawn(name) == written, "run `make docs`"
    if name != "coverage-validation":  # which changes nothing
        assert len(set(map(str, map(_boxes, pictures.ran(pictures.EXAMPLES[name]))))) == 2


def _boxes(model: pictures.Model) -> list[pictures.Box]:
    return pictures.boxes(model, ("names", "metadata", "shapes"), {})
