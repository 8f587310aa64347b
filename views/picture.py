"""Pictures of one model, each when it is asked for."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from modelexport.ir.errors import ConfigError, InputError
from modelexport.ir.io.atomic import atomic_output
from modelexport.ir.model import Model
from modelexport.ir.text import readable
from modelexport.passes.pipeline.attributed import attribute, attributed_model
from modelexport.passes.selection.selection import Selector
from modelexport.passes.selection.selection import select as select_nodes
from modelexport.views import graphml, model_explorer, text_graphs, tree
from modelexport.views import html as html_view
from modelexport.views.data import ViewData, view_data
from modelexport.views.overlays import Overlay, distinct, overlays_of, read_json

__all__ = ["FORMATS", "SUFFIXES", "View", "view"]

FORMATS = ("html", "tree", "mermaid", "dot", "graphml", "yed", "model-explorer")
SUFFIXES = {
    ".html": "html",
    ".txt": "tree",
    ".mmd": "mermaid",
    ".dot": "dot",
    ".graphml": "graphml",
    ".json": "model-explorer",
}
LARGEST_CELL = 20 * 1024 * 1024  # bytes of a page that a notebook still gets
OverlaySource = str | PathLike[str] | Mapping[str, Any]


@dataclass(slots=True)
class View:
    """Pictures of one model. Each method gives the same text whenever it is called.

    Attributes:
        data: modules, nodes and values as the pictures have them.
        overlays: numbers by node and module.
        selector: what the picture is limited to, ``""`` for the whole model.
        warnings: one line for each overlay that has names which are not in the model.
    """

    data: ViewData
    overlays: Sequence[Overlay] = ()
    selector: str = ""
    warnings: list[str] = field(default_factory=list)

    def html(self) -> str:
        """The interactive page: one document that needs nothing else."""
        return html_view.html_page(self.data, self.overlays, selector=self.selector)

    def tree(self, depth: int | None = None) -> str:
        """The module tree as text, overlays as columns; ``depth`` levels below the root."""
        return tree.tree(self.data, self.overlays, depth=depth)

    def mermaid(self, depth: int = 2) -> str:
        """The module graph down to ``depth`` as a Mermaid flowchart."""
        return text_graphs.mermaid(self.data, depth, self.overlays)

    def dot(self, depth: int = 2) -> str:
        """The module graph down to ``depth`` as DOT."""
        return text_graphs.dot(self.data, depth, self.overlays)

    def graphml(self, nested: bool = False) -> str:
        """GraphML: flat, or ``nested`` in groups as yEd has them."""
        return graphml.graphml(self.data, self.overlays, nested=nested)

    def model_explorer(self) -> dict[str, Any]:
        """The graph collection that Model Explorer reads, as a document for JSON."""
        return model_explorer.model_explorer(self.data, self.overlays)

    def node_data(self) -> dict[str, dict[str, Any]]:
        """Model Explorer's node data by name: every overlay, ``source`` and ``confidence``."""
        return model_explorer.node_data(self.data, self.overlays)

    def text(self, form: str, depth: int | None = None) -> str:
        """What ``modelexport view --format`` prints. Raises ConfigError for a form that there is not."""
        if form == "tree":
            return self.tree(depth) + "\n"
        if form in ("mermaid", "dot"):
            return (self.mermaid if form == "mermaid" else self.dot)(2 if depth is None else depth)
        if form == "html":
            return self.html()
        if form in ("graphml", "yed"):
            return self.graphml(nested=form == "yed")
        if form == "model-explorer":
            return model_explorer.to_json(self.model_explorer())
        raise ConfigError(f"no form {form!r}: one of {', '.join(FORMATS)}")

    def save(self, path: str | PathLike[str], form: str | None = None, *, depth: int | None = None) -> list[Path]:
        """Write a picture; its suffix says which (.html .txt .mmd .dot .graphml .json), unless ``form`` does.

        Model Explorer's node data is written beside its graphs, as ``<stem>.<name>.node_data.json``.

        Returns:
            The files that were written, the one asked for last.

        Raises:
            ConfigError: neither the suffix nor ``form`` says what to write.
            OutputError: a file can't be written.
        """
        target = Path(path)
        found = form or SUFFIXES.get(target.suffix.lower())
        if found is None:
            raise ConfigError(f"{target}: the suffix is none of {' '.join(SUFFIXES)}: say which form")
        return self.write(target, found, self.text(found, depth))

    def write(self, target: Path, form: str, text: str) -> list[Path]:
        """Write a picture that :meth:`text` has made, and what belongs beside it; see :meth:`save`."""
        files = [(target, text)]
        if form == "model-explorer":
            named: dict[str, str] = {}
            for name, each in self.node_data().items():
                file, number = _file_name(target.stem, name), 1
                while file.lower() in map(str.lower, named):
                    number += 1
                    file = _file_name(target.stem, f"{name[:70]} ({number})")
                named[file] = model_explorer.to_json(each)
            files = [(target.with_name(file), content) for file, content in named.items()] + files
        for where, content in files:
            with atomic_output(where) as stream:
                stream.write(content.encode("utf-8"))
        return [where for where, _ in files]

    def _repr_html_(self) -> str:
        page = self.html()
        if len(page.encode("utf-8")) > LARGEST_CELL:
            note = "The page is too large for a notebook: save it with .save('model.html') and open it in a browser."
            return f"<pre>{html.escape(self.tree(depth=2))}</pre><p>{note}</p>"
        return (
            '<iframe sandbox="allow-scripts" style="width:100%;height:640px;border:1px solid #8884;border-radius:8px" '
            f'title="{html.escape(self.data.title)}" srcdoc="{html.escape(page)}"></iframe>'
        )


def view(
    model: str | PathLike[str] | Model,
    overlays: Iterable[OverlaySource] = (),
    *,
    select: str | Selector | None = None,
    title: str = "",
) -> View:
    """Pictures of a model.

    Args:
        model: a file or a model in memory. One without tags is attributed first, in memory.
        overlays: files or documents with numbers by node or module: our own form, Model Explorer's node data, and
            the JSON of cost, profile, compare-values and diff.
        select: show the modules that have nodes of this selector.
        title: what the picture is called; the name of the file unless given.

    Raises:
        InputError: a file can't be read, or is no overlay; an OverlayError where nothing in it fits the model.
        SelectorError: the selector does not parse, or (a NothingSelectedError) matches nothing.
    """
    if isinstance(overlays, (str, PathLike, Mapping)):
        overlays = [overlays]
    documents = [_document(each, number) for number, each in enumerate(overlays, 1)]
    found = attribute(model) if isinstance(model, Model) else attributed_model(model)
    only = None if select is None else select_nodes(found, [select]).nodes
    data = view_data(found, title=title, only=only)
    placed: list[Overlay] = []
    warnings: list[str] = []
    for label, stem, document in documents:
        new, unknown = overlays_of(document, data, label=label, stem=stem)
        placed += new
        if unknown:
            number = "1 name is" if len(unknown) == 1 else f"{len(unknown)} names are"
            warnings.append(
                f"{label}: {number} not in the {'model' if only is None else 'selection'}; first: {unknown[0]}"
            )
    return View(data, distinct(placed), "" if select is None else str(select), warnings)


def _document(source: OverlaySource, number: int) -> tuple[str, str, Any]:
    if isinstance(source, Mapping):
        return f"overlay {number}", str(source.get("name") or f"overlay {number}"), source
    if isinstance(source, (str, PathLike)):
        return str(source), Path(source).stem, read_json(Path(source))
    if hasattr(source, "to_dict"):
        return f"overlay {number}", f"overlay {number}", source.to_dict()
    raise InputError(f"overlay {number}: a file, a dictionary or a report was expected, not {type(source).__name__}")


def _file_name(stem: str, overlay: str) -> str:
    plain = "".join(letter if letter.isalnum() or letter in "-_. ()" else "_" for letter in readable(overlay)).strip(
        ". "
    )
    return f"{stem}.{plain[:80] or 'overlay'}.node_data.json"
