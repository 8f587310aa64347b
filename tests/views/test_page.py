"""The page in a real browser: hooks, keys, colours, overlays, windows, on real exports."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import onnx
import pytest
from browsing import Page

from modelexport.core.views import view
from modelexport.ir import Model
from modelexport.passes.testing import make_model


def opened(browser: Any, folder: Path, model: Any, *overlays: Any, address: str = "", **options: Any) -> Page:
    file = folder / "page.html"
    view(model, overlays, **options).save(file)
    return Page(browser, file, address=address)


@pytest.fixture(scope="module", params=["torchscript", "dynamo"])
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo transformer as an exporter writes it, tagged."""
    from modelexport.frontend.inputs.demo import run_demo

    return Path(run_demo(tmp_path_factory.mktemp(request.param), exporter=request.param)["output_path"])


class Expected:
    """What the page must show, worked out from the file's own metadata alone."""

    def __init__(self, path: Path) -> None:
        proto = onnx.load(path)
        sidecar = json.loads(path.with_name(path.stem + "_hierarchy.json").read_text())
        self.parent = {m["path"]: m["parent"] for m in sidecar["modules"] if m["calls"]}
        self.nodes = [(n, {p.key: p.value for p in n.metadata_props}) for n in proto.graph.node]
        self.path_of = {n.name: about["htp.path"] for n, about in self.nodes}
        self.maker = {value: n.name for n, _ in self.nodes for value in n.output}
        constant: set[str] = {tensor.name for tensor in proto.graph.initializer}
        for n, _ in self.nodes:
            if n.op_type == "Constant" or (n.input and all(value in constant for value in n.input)):
                constant |= set(n.output)
        self.constant = constant

    def chain(self, path: str) -> list[str]:
        found = [path]
        while self.parent[found[-1]] is not None:
            found.append(self.parent[found[-1]])
        return found[::-1]

    def children(self, path: str) -> list[str]:
        """Inner modules that have nodes, in the order of their first nodes."""
        first: dict[str, int] = {}
        for index, (n, _) in enumerate(self.nodes):
            for module in self.chain(self.path_of[n.name]):
                first.setdefault(module, index)
        return sorted((m for m, above in self.parent.items() if above == path and m in first), key=lambda m: first[m])

    def edges(self) -> dict[tuple[str, str], int]:
        """Every edge of every level."""
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for n, _ in self.nodes:
            for value in n.input:
                if value not in self.maker:
                    continue
                source = [*self.chain(self.path_of[self.maker[value]]), None]
                target = [*self.chain(self.path_of[n.name]), None]
                level = next(i for i in range(len(source)) if source[i] != target[i] or source[i] is None)
                if value in self.constant and (source[level], target[level]) != (None, None):
                    continue
                ends = [
                    f"n:{name}" if way[level] is None else f"m:{way[level]}"
                    for way, name in ((source, self.maker[value]), (target, n.name))
                ]
                found[ends[0], ends[1]].add(value)
        return {ends: len(values) for ends, values in found.items()}


def test_a_real_export_as_a_whole(browser: Any, tmp_path: Path, export: Path) -> None:
    expected = Expected(export)
    page = opened(browser, tmp_path, export)
    rows = page.all("#tree [role=treeitem]", "data-path")
    with_nodes = [path for path in rows[1:] if page.one(f"#tree [data-path='{path}'] .number") != "0"]
    assert rows[0] == ""
    assert with_nodes == expected.children("")
    shown = {path for path, kind in page.all("#graph .item", "data-path", "data-kind") if kind == "module"}
    assert shown >= set(expected.children(""))
    for path in expected.parent:  # everything open: every edge of every level, and nothing else
        page.expand(path)
    assert page.edges() == expected.edges()
    nodes = set(page.all("#graph .item[data-kind=node]", "data-node"))
    assert nodes == set(expected.path_of)
    assert dict(page.all("#graph .item[data-kind=node]", "data-node", "data-path")) == expected.path_of
    assert page.console() == []
    assert page.requests() == []


def test_details_of_a_node_are_those_of_the_file(browser: Any, tmp_path: Path, export: Path) -> None:
    expected = Expected(export)
    page = opened(browser, tmp_path, export)
    node, about = next((n, about) for n, about in expected.nodes if n.op_type == "Softmax")
    page.search(node.name)
    page.click("#results button")
    fields = page.details()
    assert fields["name"] == node.name
    assert (fields["operator"], fields["domain"]) == ("Softmax", "ai.onnx")
    assert (fields["module"], fields["tag"]) == (about["htp.path"], about["htp.tag"])
    assert (fields["source"], fields["rule"]) == (about["htp.source"], about["htp.rule"])
    assert float(fields["confidence"]) == float(about["htp.confidence"])
    assert f"axis{node.attribute[0].i}" in fields["attributes"]
    assert node.input[0] in fields["inputs"]
    assert "float32[" in fields["inputs"]
    (reader,) = (n.op_type for n, _ in expected.nodes if node.output[0] in n.input)
    assert reader in fields["readers"]
    page.click("#details [data-field=module] button")
    fields = page.details()
    assert fields["path"] == about["htp.path"]
    inside = [path for path in expected.path_of.values() if about["htp.path"] in expected.chain(path)]
    assert int(fields["nodes inside"]) == len(inside)
    assert int(fields["nodes"]) == inside.count(about["htp.path"])
    assert "Softmax1" in fields["operators"]
    assert fields["class"].endswith("Attention")


def test_search_finds_everything_and_opens_the_way(browser: Any, tmp_path: Path, export: Path) -> None:
    expected = Expected(export)
    page = opened(browser, tmp_path, export)
    page.search("matmul")
    hits = [n for n, _ in expected.nodes if "matmul" in (n.name + n.op_type + " ".join(n.output)).lower()]
    assert page.hits() == len(hits)
    page.search("layernorm")  # a class, and operators and names where the exporter has them
    modules = {m for m in expected.parent if "before" in m}
    assert set(page.all("#results .module span:first-child")) >= modules
    path = "blocks.1.attention.query"
    page.search(path)
    page.click("#results button.module")
    for above in ("blocks.1", "blocks.1.attention"):
        assert page.one(f"#graph .item[data-kind=module][data-path='{above}']", "data-expanded") == "true"
    assert page.one("#graph .item[data-selected]", "data-path") == path
    assert page.one("#tree [aria-selected=true]", "data-path") == path
    assert page.script("return location.hash") == "#" + path
    page.search("no such thing anywhere")
    assert page.hits() == 0


def test_a_link_opens_at_a_module_and_at_a_node(browser: Any, tmp_path: Path, export: Path) -> None:
    page = opened(browser, tmp_path, export, address="#blocks.0.attention")
    assert page.one("#graph .item[data-selected]", "data-path") == "blocks.0.attention"
    assert page.one("#details [data-field=path]") == "blocks.0.attention"
    name = next(n.name for n, _ in Expected(export).nodes if n.op_type == "Softmax")
    page = opened(browser, tmp_path, export, address="#n:" + name)
    assert page.one("#graph .item[data-selected]", "data-node") == name
    page.script("location.hash = '#head'")
    page.until(lambda: page.all("#graph .item[data-selected]", "data-path") == ["head"])
    page = opened(browser, tmp_path, export, address="#nothing%20there%")
    assert page.one("#details [data-field=path]") == "(root)"
    assert page.console() == []


def test_keys_do_everything(browser: Any, tmp_path: Path, export: Path) -> None:
    page = opened(browser, tmp_path, export)
    page.press("m")
    page.press("ARROW_DOWN")
    rows = page.all("#tree [role=treeitem]", "data-path")
    assert page.one("#tree [aria-selected=true]", "data-path") == rows[1]
    while page.one("#tree [aria-selected=true]", "data-path") != "blocks.0":
        page.press("ARROW_DOWN")
    assert page.one("#tree [aria-selected=true]", "aria-level", "aria-expanded") == ["2", "false"]
    page.press("ARROW_RIGHT")
    assert page.one("#tree [aria-selected=true]", "aria-expanded") == "true"
    page.press("ENTER")
    assert page.one("#graph .item[data-path='blocks.0'][data-kind=module]", "data-expanded") == "true"
    page.press("ENTER")
    assert page.one("#graph .item[data-path='blocks.0'][data-kind=module]", "data-expanded") == "false"
    page.press("g")
    page.press("ARROW_DOWN")
    assert page.one("#graph .item[data-selected]", "data-path") == "blocks.1"
    page.press("ENTER")
    page.press("/")
    for letter in "softmax":
        page.press(letter)
    page.until(lambda: page.hits() > 0)
    page.press("ENTER")
    assert page.details()["operator"] == "Softmax"
    page.press("u")
    assert page.details()["path"].endswith("attention")
    before = page.one("#scene", "transform")
    page.press("+")
    assert page.one("#scene", "transform") != before
    page.press("f")
    page.press("c")
    assert page.script("return document.getElementById('colour').value") == "source"
    page.press("?")
    assert page.script("return document.getElementById('keys').open") is True
    page.press("ESCAPE")
    assert page.script("return document.getElementById('keys').open") is False
    page.press("x")
    assert page.all("#graph .item[data-expanded=true]") == []
    assert page.console() == []


def test_double_click_opens_and_closes_in_place(browser: Any, tmp_path: Path, export: Path) -> None:
    page = opened(browser, tmp_path, export)
    where = "#graph .item[data-kind=module][data-path='blocks.0']"
    page.click(where, double=True)
    assert page.one(where, "data-expanded") == "true"
    assert "m:blocks.0.attention" in page.items()
    titles = page.script(
        "return [...document.querySelectorAll('#titles .title')].map(e => e.getBoundingClientRect().top)"
    )
    assert all(0 <= top < 800 for top in titles)
    page.click(where, double=True)
    assert page.one(where, "data-expanded") == "false"
    assert "m:blocks.0.attention" not in page.items()
    page.expand("blocks.0")
    page.collapse("blocks.0")
    assert page.one(where, "data-expanded") == "false"


GUESSES = """
    # module: .        my.Net
    # module: a        my.Block
    # module: b        my.Block
    # module: c        my.Other
    g (float[N] X) => (float[N] Y) {
        [p] p = Relu (X)    # scope: a
        [q] q = Exp (p)     # scope: a inherited/consumers 0.5
        [r] r = Neg (q)     # scope: b inherited/consumers 0.75
        [y] Y = Abs (r)     # scope: c parameter/weight 0.9
    }
"""


def test_colours_and_guesses(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, make_model(GUESSES))

    def colours() -> dict[str, str]:
        return dict(page.all("#graph .item", "data-id", "data-colour"))

    found = colours()
    assert found["m:a"] == found["m:b"] != found["m:c"]
    drawn = page.script("return getComputedStyle(document.querySelector('#graph .item .box')).fill")
    first = page.all("#graph .item", "data-colour")[0]
    assert drawn == "rgb({}, {}, {})".format(*(int(first[i : i + 2], 16) for i in (1, 3, 5)))
    assert page.all("#graph .item.guess", "data-id") == ["m:b"]
    page.colour("source")
    found = colours()
    assert found["m:a"] == found["m:b"] != found["m:c"]  # the source of the lowest confidence inside
    legend = page.one("#legend")
    assert "inherited" in legend and "parameter" in legend and "a guess" in legend
    page.colour("confidence")
    found = colours()
    assert len(set(found.values())) == 3
    page.expand("a")
    page.expand("b")
    assert set(page.all("#graph .item.guess", "data-id")) == {"n:q", "m:b", "n:r"}
    chips = page.all("#legend")
    assert "0.50" in chips[0]


LIGHTNESS = """
    const linear = x => (x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
    const light = s => { const [r, g, b] = s.match(/\\d+/g).map(linear); return .2126 * r + .7152 * g + .0722 * b; };
    const steps = [...document.querySelectorAll("#legend .step i")];
    const ramp = steps.map(e => light(getComputedStyle(e).backgroundColor));
    const contrast = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const boxOf = e => e.parentNode.querySelector(".box");
    const texts = [...document.querySelectorAll("#graph .item:not(.empty) > text")].map(e =>
        contrast(light(getComputedStyle(e).fill), light(getComputedStyle(boxOf(e)).fill)));
    return [ramp, texts];
"""


def test_colours_differ_in_lightness_too(browser: Any, tmp_path: Path) -> None:
    """Ramps go one way in lightness, so they are read without colour vision; text on every colour has contrast."""
    page = opened(browser, tmp_path, make_model(GUESSES), {"name": "t", "values": {"p": 1, "q": 2, "r": 3, "y": 4}})
    for theme in ("light", "dark"):
        page.script("document.documentElement.dataset.theme = arguments[0]", theme)
        page.colour("overlay:t")
        for mode in ("overlay:t", "class", "source", "confidence"):
            page.colour(mode)
            ramp, texts = page.script(LIGHTNESS)
            assert min(texts) >= 4.5, (theme, mode)
            if mode == "overlay:t":
                assert len(ramp) == 5
                steps = [b - a for a, b in itertools.pairwise(ramp)]
                assert all(step < 0 for step in steps) or all(step > 0 for step in steps)


def test_an_overlay_has_bars_and_sorts_the_tree(browser: Any, tmp_path: Path) -> None:
    overlay = {"name": "time", "unit": "us", "values": {"p": 1, "q": 2, "r": 10, "y": 4}}
    page = opened(browser, tmp_path, make_model(GUESSES), overlay)
    assert page.script("return document.getElementById('colour').value") == "overlay:time"
    numbers = dict(zip(page.all("#tree .row", "data-path"), page.all("#tree .row .number"), strict=True))
    assert numbers == {"": "17", "a": "3", "b": "10", "c": "4"}
    bars = [bar["width"] for bar in page.boxes("#tree .bar")]
    assert bars[0] > bars[2] > bars[3] > bars[1] > 0
    assert bars[2] / bars[0] == pytest.approx(10 / 17, abs=0.03)
    assert page.all("#tree .row", "data-path") == ["", "a", "b", "c"]
    page.click("#sort")
    assert page.all("#tree .row", "data-path") == ["", "b", "c", "a"]
    page.click("#tree [data-path=a]")
    assert page.details()["overlay:time"] == "3 us"
    page.colour("class")
    assert page.all("#tree .row", "data-path") == ["", "a", "b", "c"]


def test_a_diff_marks_nodes_and_lists_removed_ones(browser: Any, tmp_path: Path) -> None:
    nodes = {
        "added": [{"key": "q", "name": "q", "op_type": "Exp"}],
        "removed": [{"key": "old", "name": "old", "op_type": "Tanh"}],
        "changed": [{"a": {"key": "p"}, "b": {"key": "p"}}],
    }
    document = {"format": "modelexport-diff", "modules": [{"path": "a", "nodes": nodes, "weights": []}]}
    page = opened(browser, tmp_path, make_model(GUESSES), document)
    page.expand("a")
    assert page.one("#graph .item[data-node=q] .mark") == "+"
    assert page.one("#graph .item[data-node=p] .mark") == "~"
    page.click("#tree [data-path=a]")
    assert page.details()["removed"] == "Tanh old"
    assert page.details()["overlay:changed"] == "2"
    nodes["added"], nodes["removed"] = nodes["removed"], nodes["added"]
    page = opened(browser, tmp_path, make_model(GUESSES), document)  # a picture of the older model
    page.expand("a")
    assert page.one("#graph .item[data-node=q] .mark") == "\u2212"
    page.click("#tree [data-path=a]")
    assert page.details()["added"] == "Tanh old" and "removed" not in page.details()


def test_modules_without_operators_are_shown_as_such(browser: Any, tmp_path: Path, model: Model) -> None:
    page = opened(browser, tmp_path, model)
    assert page.all("#graph .item.empty", "data-path") == ["drop"]
    page.click("#tree [data-path=drop]")
    assert page.details()["operators"] == "none in this graph"
    assert page.one("#graph .item[data-selected]", "data-path") == "drop"


def test_bodies_are_part_of_their_modules(browser: Any, tmp_path: Path, model: Model) -> None:
    page = opened(browser, tmp_path, model)
    page.expand("head")
    page.expand("blocks.10")
    assert page.edges() == {
        ("m:blocks.2", "m:blocks.10"): 1, ("m:blocks.10", "m:head"): 1, ("m:blocks.2", "n:abs"): 1,
        ("n:abs", "m:head"): 1, ("n:neg", "n:if"): 1, ("n:b", "m:blocks.10.lin"): 1, ("m:blocks.10.lin", "n:norm"): 1,
    }  # fmt: skip
    page.search("n:neg")
    page.search("neg")
    page.click("#results .node")
    assert page.details()["graph"] == "main/5.then_branch"


def test_a_selection_is_named(browser: Any, tmp_path: Path, model: Model) -> None:
    page = opened(browser, tmp_path, model, select="path:blocks.10", title="A title")
    assert page.one("#title") == "A title"
    assert "3 of 8 nodes" in page.one("#facts")
    assert "path:blocks.10" in page.one("#facts")
    assert page.all("#tree .row", "data-path") == ["", "blocks.10"]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (2560, 1300)])
def test_the_page_fits_its_window(browser: Any, tmp_path: Path, model: Model, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page = opened(browser, tmp_path, model)
    size = page.script("const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]")
    assert size == [width, height]
    boxes = page.script(
        "return [...document.querySelectorAll('#graph .item')].map(e => e.getBoundingClientRect().toJSON())"
    )
    graph = page.script("return document.getElementById('graph').getBoundingClientRect().toJSON()")
    assert all(graph["left"] <= box["left"] and box["right"] <= graph["right"] for box in boxes)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_notebook_frame_works_without_an_address(browser: Any, tmp_path: Path, model: Model) -> None:
    file = tmp_path / "notebook.html"
    file.write_text(
        f"<!DOCTYPE html><meta charset='utf-8'><title>x</title><body data-ready=true>{view(model)._repr_html_()}"
    )
    page = Page(browser, file)
    browser.switch_to.frame(0)
    page.until(lambda: page.script("return document.body && document.body.dataset.ready"))
    page.click("#tree [data-path=head]")
    assert page.one("#details [data-field=path]") == "head"
    browser.switch_to.default_content()
    assert page.console() == []
