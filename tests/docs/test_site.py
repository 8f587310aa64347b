"""The documentation site builds without a warning, and its index lists every page once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    pytest.importorskip("furo")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run([*map(str, command), str(DOCS), str(tmp_path / "site")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference" / "ir.html").read_text()
    assert "modelexport.ir.graph.Graph.rename_value" in page
    assert (tmp_path / "site" / "changelog.html").read_text().count("Unreleased") >= 1


def test_the_index_lists_every_page_once() -> None:
    text = (DOCS / "index.md").read_text()
    listed = re.findall(r"^\| \[[^\]]+\]\(([^)]+)\) \|", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    own = {"index.md", "changelog.md", "contributing.md", "security.md"}  # the last three include files of the root
    pages = {path.name for path in DOCS.glob("*.md")} - own
    assert pages <= set(listed), "name the page in docs/index.md"
