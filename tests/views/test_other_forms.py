"""Pictures for other programs, read by those programs where they are there."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import networkx
import pytest
from test_page_hostile import NASTY, nasty_model

from modelexport.cli.tables import module_tree
from modelexport.core.views import View, view
from modelexport.ir import Model
from modelexport.passes.report import model_summary
from modelexport.passes.testing import make_model
from modelexport.views.text_graphs import mermaid_warning

MERMAID = os.environ.get("MERMAID_MODULES", "")  # a folder where npm has installed mermaid and jsdom
EXPLORER = os.environ.get("MODEL_EXPLORER_PYTHON", "")  # a python where pip has installed ai-edge-model-explorer
OVERLAY = {"name": "time", "unit": "us", "values": {"a": 1.5, "neg": 4, "module:drop": 2}}
DEEP = "\n".join(
    f"[n{i}] v{i} = Relu (v{i - 1})   # scope: {'.'.join(f'm{j}' for j in range(i + 1))}" for i in range(1, 45)
)


@pytest.fixture
def picture(model: Model) -> View:
    return view(model, [OVERLAY])


def graph_of(text: str) -> Any:
    return networkx.read_graphml(io.BytesIO(text.encode()))


def test_networkx_reads_graphml_with_everything(picture: View) -> None:
    graph = graph_of(picture.graphml())
    assert graph.is_directed() and len(graph) == 8
    assert all(
        set(about) >= {"name", "op_type", "module_path", "class", "tag", "depth"} for _, about in graph.nodes(data=True)
    )
    by_name = {about["name"]: (node, about) for node, about in graph.nodes(data=True)}
    about = by_name["norm"][1]
    assert (about["op_type"], about["module_path"], about["class"]) == ("Exp", "blocks.10", "my.Block")
    assert (about["source"], about["confidence"], about["depth"]) == ("inherited", 0.5, 1)
    assert about["tag"] == "/Net/Block.10"
    assert by_name["a"][1]["time"] == 1.5 and "time" not in about
    edges = {(graph.nodes[a]["name"], graph.nodes[b]["name"], d["value"]) for a, b, d in graph.edges(data=True)}
    assert edges == {
        ("k", "a", "K"),
        ("k", "b", "K"),
        ("a", "b", "a"),
        ("b", "lin", "b"),
        ("lin", "norm", "c"),
        ("norm", "neg", "s"),
        ("a", "abs", "a"),
    }


def test_yed_has_groups_inside_groups(picture: View) -> None:
    from xml.etree import ElementTree

    names = {"g": "http://graphml.graphdrawing.org/xmlns", "y": "http://www.yworks.com/xml/graphml"}
    root = ElementTree.fromstring(picture.graphml(nested=True))

    def groups(graph: Any) -> dict[str, Any]:
        return {
            node.find(".//y:GroupNode/y:NodeLabel", names).text: groups(node.find("g:graph", names))
            for node in graph.findall("g:node[@yfiles.foldertype='group']", names)
        }

    assert groups(root.find("g:graph", names)) == {
        "blocks.2 Block": {},
        "blocks.10 Block": {"lin Linear": {}},
        "head Head": {},
    }
    assert len(root.findall(".//y:ShapeNode", names)) == 8
    assert len(root.findall(".//g:edge", names)) == 7


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("text", NASTY)
def test_graphml_of_hostile_names(text: str, nested: bool) -> None:
    picture = view(nasty_model(text), [{"name": f"o{text}", "values": {text: 1}}])
    about = dict(graph_of(picture.graphml()).nodes(data=True))
    allowed = re.sub("[\x00-\x08\x0b-\x1f]", "\ufffd", text)
    assert f"node{allowed}" in {each["name"] for each in about.values()}
    if nested:
        networkx.read_graphml(io.BytesIO(picture.graphml(nested=True).encode()))


def test_deep_modules_nest_without_recursion() -> None:
    model = make_model(f"g (float[N] v0) => (float[N] v44) {{\n{DEEP}\n}}")
    text = view(model).graphml(nested=True)
    assert text.count("yfiles.foldertype") >= 40
    assert view(model).mermaid(50).count("subgraph") >= 40


@pytest.mark.skipif(not shutil.which("dot"), reason="DOT is not parsed: graphviz is not installed")
@pytest.mark.parametrize("depth", [0, 1, 2, 5])
def test_graphviz_draws_the_dot(picture: View, depth: int) -> None:
    done = subprocess.run(["dot", "-Tsvg"], input=picture.dot(depth), capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    if depth == 2:
        assert all(text in done.stdout for text in ("lin", "Linear, 1 node", "(own)", "time 1.5 us", "blocks.10"))
        assert done.stdout.count('class="cluster"') == 2  # the root, blocks.10


@pytest.mark.skipif(not shutil.which("dot"), reason="DOT is not parsed: graphviz is not installed")
@pytest.mark.parametrize("text", NASTY)
def test_graphviz_draws_hostile_names(text: str) -> None:
    picture = view(nasty_model(text), [{"name": f"o{text}", "values": {text: 1}}], title=text)
    done = subprocess.run(["dot", "-Tdot"], input=picture.dot(3).encode(), capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize("text", NASTY)
def test_labels_of_mermaid_have_nothing_that_ends_them(text: str) -> None:
    lines = view(nasty_model(text)).mermaid(3).splitlines()
    assert lines[0] == "flowchart TB"
    label = r'"(?:[\w .\-,:/%+()]|#\d+;|<br/>)*"'
    forms = rf"\s+(subgraph m\d+\[{label}\]|m\d+(own)?\[{label}\]|end|m\d+(own)? (-->|-\.->) m\d+(own)?)"
    assert [line for line in lines[1:] if not re.fullmatch(forms, line)] == []


PARSE = """
import { JSDOM } from "jsdom";
const { window } = new JSDOM("");
global.window = window; global.document = window.document;
const mermaid = (await import("mermaid")).default;
mermaid.initialize({});
let text = ""; for await (const piece of process.stdin) text += piece;
for (const each of JSON.parse(text)) {
    const { diagramType } = await mermaid.parse(each);
    if (!diagramType.startsWith("flowchart")) throw new Error(diagramType);
}
"""


@pytest.mark.skipif(not MERMAID, reason="Mermaid is not parsed: MERMAID_MODULES names no folder with mermaid and jsdom")
def test_mermaid_parses_every_picture(picture: View) -> None:
    texts = [picture.mermaid(depth) for depth in range(6)] + [view(nasty_model(text)).mermaid(3) for text in NASTY]
    script = Path(MERMAID) / "parse_for_test.mjs"
    script.write_text(PARSE)
    try:
        done = subprocess.run(["node", script], input=json.dumps(texts), capture_output=True, text=True)
    finally:
        script.unlink()
    assert done.returncode == 0, done.stderr


def test_mermaid_says_which_depth_it_can_draw() -> None:
    chain = "\n".join(f"[n{i}] v{i} = Relu (v{i - 1})   # scope: a{i // 60}.b{i}" for i in range(1, 600))
    modules = "\n".join(f"# module: a{i} my.A" for i in range(10))
    data = view(make_model(f"{modules}\ng (float[N] v0) => (float[N] v599) {{\n{chain}\n}}"))
    text = data.mermaid(2)
    assert mermaid_warning(data.data, 2, text) == (
        "598 edges: Mermaid draws at most 500 unless it is configured otherwise; --depth 1 fits"
    )
    assert mermaid_warning(data.data, 1, data.mermaid(1)) == ""


def test_model_explorer_has_namespaces_bodies_and_edges(picture: View) -> None:
    document = picture.model_explorer()
    main, then, other = document["graphs"]
    assert (main["id"], then["id"], other["id"]) == ("g", "t", "e")
    nodes = {node["id"]: node for node in main["nodes"]}
    assert set(nodes) == {"input:X", "input:C", "k", "a", "b", "lin", "norm", "if", "output:Y"}
    assert nodes["lin"]["namespace"] == "blocks.10/lin" and nodes["lin"]["label"] == "Add"
    assert nodes["if"]["subgraphIds"] == ["t", "e"]
    assert nodes["a"]["incomingEdges"] == [
        {"sourceNodeId": "input:X", "sourceNodeOutputId": "0", "targetNodeInputId": "0"},
        {"sourceNodeId": "k", "sourceNodeOutputId": "0", "targetNodeInputId": "1"},
    ]
    assert {each["key"]: each["value"] for each in nodes["lin"]["attrs"]} == {
        "module": "blocks.10.lin", "class": "torch.nn.modules.linear.Linear", "tag": "/Net/Block.10/Linear",
        "source": "scope", "rule": "given", "confidence": "1.00", "input 1": "W float32[1]",
    }  # fmt: skip
    assert {"key": "time", "value": "1.5 us"} in nodes["a"]["attrs"]
    assert main["groupNodeAttributes"]["blocks.10"]["nodes inside"] == "3"
    assert [node["id"] for node in then["nodes"]] == ["neg", "output:y"]


def test_model_explorer_ids_and_namespaces_are_sound() -> None:
    for text in NASTY:
        for graph in view(nasty_model(text)).model_explorer()["graphs"]:
            ids = [node["id"] for node in graph["nodes"]]
            assert len(ids) == len(set(ids))
            ends = {edge["sourceNodeId"] for node in graph["nodes"] for edge in node["incomingEdges"]}
            assert ends <= set(ids)
            assert all(len(node["namespace"].split("/")) <= 2 for node in graph["nodes"])


READ = """
import json, sys
import dacite
from model_explorer.graph_builder import Graph
strict = dacite.Config(strict=True)
documents = json.load(sys.stdin)
graphs = [[dacite.from_dict(Graph, each, strict) for each in document["graphs"]] for document in documents]
print(json.dumps([sorted({node.namespace for graph in each for node in graph.nodes}) for each in graphs]))
"""


@pytest.mark.skipif(
    not EXPLORER, reason="no Model Explorer: MODEL_EXPLORER_PYTHON names no python that has its package"
)
def test_model_explorers_own_classes_take_every_graph(picture: View) -> None:
    documents = [picture.model_explorer()] + [view(nasty_model(text)).model_explorer() for text in NASTY]
    done = subprocess.run(
        [EXPLORER, "-c", READ], input=json.dumps(documents), capture_output=True, text=True, env={}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {"", "blocks.2", "blocks.10", "blocks.10/lin"} <= set(json.loads(done.stdout)[0])


def test_node_data_is_an_overlay_again(picture: View, model: Model) -> None:
    data = picture.node_data()
    assert sorted(data) == ["confidence", "source", "time"]
    assert data["source"]["g"]["results"]["norm"]["value"] == "inherited"
    assert data["time"]["t"]["results"] == {"neg": {"value": 4}}
    again = view(model, [data["time"]]).overlays[0]
    assert again.nodes == picture.overlays[0].nodes


def test_the_tree_is_analyzes_with_columns(picture: View, model: Model) -> None:
    for depth in (None, 1):  # analyze has more columns to the right
        rows = module_tree(model_summary(model)["modules"], depth=depth).splitlines()
        lines = view(model).tree(depth=depth).splitlines()
        assert len(rows) == len(lines) and all(row.startswith(line) for row, line in zip(rows, lines, strict=True))
    lines = picture.tree().splitlines()
    assert lines[0].split() == ["module", "nodes", "with", "inner", "share", "confidence", "time", "(us)"]
    assert lines[1].split() == ["/Net", "1", "8", "100.0%", "0.94", "5.5"]
    assert [line.split()[0] for line in view(model, select="op:Add").tree().splitlines()[1:]] == [
        "/Net",
        "Block.10",
        "Linear",
    ]


def test_pictures_are_the_same_each_time(model: Model) -> None:
    for form in ("html", "tree", "mermaid", "dot", "graphml", "yed", "model-explorer"):
        assert view(model, [OVERLAY]).text(form) == view(model, [OVERLAY]).text(form)


def test_an_empty_graph_has_pictures() -> None:
    model = make_model("g (float[N] X) => (float[N] X) {\n}")
    for form in ("html", "tree", "mermaid", "dot", "graphml", "yed", "model-explorer"):
        assert view(model).text(form)


def test_a_notebook_gets_the_tree_of_a_page_that_is_too_large(picture: View, monkeypatch: pytest.MonkeyPatch) -> None:
    assert picture._repr_html_().startswith("<iframe")
    monkeypatch.setattr("modelexport.views.picture.LARGEST_CELL", 1000)
    assert picture._repr_html_().startswith("<pre>module")
