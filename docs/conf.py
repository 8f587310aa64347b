"""Sphinx configuration of the documentation site: ``make site``."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "modelexport"
author = "the modelexport maintainers"
release = version_of("modelexport")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["conf.py", "**/README.txt"]
source_suffix = {".md": "markdown"}
root_doc = "index"

html_theme = "furo"
html_title = "modelexport"
html_show_copyright = False
html_show_sphinx = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_exclude = ".linenos, .gp"
suppress_warnings = ["ref.python"]  # a dataclass that is re-exported has two homes; links go to either

_AT_ROOT = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}


def _link_inside(app: Sphinx, name: str, source: list[str]) -> None:
    """Files of the repository's root have a page each that includes them; links on the site lead there."""
    above = "../" * name.count("/")
    for file, page in _AT_ROOT.items():
        source[0] = source[0].replace(f"](../{above}{file})", f"]({above}{page})")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _link_inside)
