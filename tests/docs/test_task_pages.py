"""The pages that start from a question: each shows a picture that the build of the pages draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("which-layer-is-slow", "which-layer-breaks-in-int8", "how-big-is-this-block", "a-module-alone")


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_a_picture_that_is_drawn(page: str) -> None:
    drawn = re.findall(r'folder / "(\w+\.svg)"', (DOCS / "generate_compute_pictures.py").read_text("utf-8"))
    text = (DOCS / f"{page}.md").read_text("utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(pictures/([\w.-]+)\)", text)
    assert pictures and set(pictures) <= set(drawn)
    assert all((DOCS / "pictures" / name).is_file() for name in pictures)
    assert f"({page}.md)" in (DOCS / "index.md").read_text("utf-8")
