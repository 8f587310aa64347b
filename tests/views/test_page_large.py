"""The page of large models can be used, and is not too big a file. bench/views.py prints the times."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from browsing import Page

from modelexport.core.views import View, view
from modelexport.ir import Attribution, Model, Source
from modelexport.ir.io.reader import from_proto

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "inputs"))
import view_graphs

NODES = 100_000


def model_of(shape: str, nodes: int) -> tuple[Model, dict[str, Any]]:
    """A model that is attributed already, and an overlay for it."""
    proto = view_graphs.build(nodes, shape)
    model = from_proto(proto)
    known: dict[str, Attribution] = {}
    for index, node in enumerate(model.main.nodes):
        path = view_graphs.SHAPES[shape](index)
        while path and path not in known:
            known[path] = Attribution(path, Source.SCOPE, "rule", 1.0)
            model.modules.ensure(path)
            path = path.rpartition(".")[0]
        node.attribute_to(known[view_graphs.SHAPES[shape](index)])
    return model, view_graphs.overlay(proto)


@pytest.fixture(scope="module", params=["blocks", "flat", "deep"])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, View]:
    model, numbers = model_of(request.param, NODES)
    picture = view(model, [numbers])
    file = tmp_path_factory.mktemp("large") / f"{request.param}.html"
    picture.save(file)
    return request.param, file, picture


@pytest.mark.slow
@pytest.mark.xdist_group("page")
def test_a_large_page_can_be_used(browser: Any, large: tuple[str, Path, View]) -> None:
    shape, file, _ = large

    page = Page(browser, file)
    assert float(page.one("body", "data-milliseconds")) > 0
    closed = page.all("#graph .item[data-expanded=false]", "data-path")
    if closed:
        page.expand(closed[len(closed) // 2])
        assert page.boxes("#graph")
    assert len(page.all("#graph .item")) <= 250 * 45
    page.search("_77777")
    page.click("#results button")
    assert page.details()["name"].endswith("_77777")
    assert page.one("#graph .item[data-selected]", "data-node").endswith("_77777")
    if shape == "deep":
        deepest = max(page.all("#graph .item[data-expanded=true]", "data-path"), key=lambda path: path.count("."))
        assert deepest.count(".") >= 10
    assert page.console() == []


def test_a_level_shows_a_window(browser: Any, tmp_path: Path) -> None:
    model, _ = model_of("flat", 1000)
    file = tmp_path / "page.html"
    view(model).save(file)
    page = Page(browser, file)

    def window() -> list[int]:
        return sorted(int(name.rpartition("_")[2]) for name in page.all("#graph .item[data-kind=node]", "data-node"))

    more = "#graph [data-more='model'][data-direction={}]"
    assert sorted(int(n.rpartition("_")[2]) for n in page.all("#graph .item[data-kind=node]", "data-node")) == [
        *range(250)
    ]
    assert page.one(more.format("after")) == "\u2026 750 after"
    assert page.all(more.format("before")) == []
    page.click(more.format("after"))
    assert window() == [*range(250, 500)]
    assert page.one(more.format("before")) == "250 before \u2026"
    assert page.one(more.format("after")) == "\u2026 500 after"
    page.click(more.format("before"))
    assert window() == [*range(250)] and page.all(more.format("before")) == []
    page.script("location.hash = '#n:/model/Relu_1'")
    page.until(lambda: page.all("#graph .item[data-selected]", "data-node") == ["/model/Relu_1"])
    page.script("document.getElementById('graph').focus()")
    page.press("PAGE_DOWN")
    assert window() == [*range(250, 500)]
    page.press("PAGE_UP")
    assert window() == [*range(250)]
    hits = [node for node in model.nodes() if "relu" in " ".join((node.op_type, node.name, *node.outputs)).lower()]
    assert len(page.search("relu")) == 200 < page.hits() == len(hits)  # all are counted, 200 are listed
    page.search("_800")
    page.click("#results button")  # the window moves to the hit
    assert page.one("#graph .item[data-selected]", "data-node").endswith("_800")
    assert page.all(more.format("before"))
    assert len(window()) == 250 and 800 in window()


def test_what_many_read_is_faint(browser: Any, tmp_path: Path) -> None:
    model, _ = model_of("flat", 120)
    file = tmp_path / "page.html"
    view(model).save(file)
    page = Page(browser, file)
    assert set(page.all("#graph .edge.faint", "data-from")) == {"n:/model/Relu_0"}
    assert len(page.all("#graph .edge.faint")) >= 8
    assert ("n:/model/Relu_0", "n:/model/Relu_1") in page.edges()


@pytest.mark.parametrize("shape", ["blocks", "flat", "deep"])
def test_the_file_stays_small(shape: str) -> None:
    model, _ = model_of(shape, 20_000)
    names = [n for node in model.nodes() for n in (node.name, *node.outputs)] + [
        module.path for module in model.modules
    ]
    page = view(model).html()
    assert len(page.encode()) <= 150_000 + 120 * 20_000 + sum(map(len, names))
    assert len(view(model_of(shape, 10)[0]).html().encode()) < 150_000


def test_forty_levels_open_one_after_the_other(browser: Any, tmp_path: Path) -> None:
    model, numbers = model_of("deep", 400)
    file = tmp_path / "page.html"
    view(model, [numbers]).save(file)
    page = Page(browser, file)
    deepest = max((module.path for module in model.modules), key=len)
    page.expand(deepest)
    opened = page.all("#graph .item[data-expanded=true]", "data-path")
    assert deepest in opened and len(opened) == 41
    page.script("location.hash = '#' + arguments[0]", deepest)
    page.until(lambda: page.one("#tree [aria-selected=true]", "data-path") == deepest)
    assert page.one("#tree [aria-selected=true]", "aria-level") == str(len(opened) + 1)
    assert page.console() == []
