"""Names are data: hostile text in every field of a model is shown as text, and nothing of it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from browsing import Page
from onnx import TensorProto, helper

from modelexport.core.views import view
from modelexport.ir import Attribution, Model, Module, Source
from modelexport.ir.io.reader import from_proto

NASTY = [
    "</script><script>window.bad=1</script>",
    "<img src=x onerror=window.bad=1>",
    "--><!-- <svg/onload=window.bad=1>",
    "]]>&lt;b&gt;&amp;\"'`${window.bad=1}{{data}}",
    "\u202egnitirw\u0000\u0007 \u2028line\nbreak\t\\",
    "javascript:window.bad=1",
    "__proto__",
    "constructor",
]


def nasty_model(text: str) -> Model:
    """Every name of the model has the text in it."""

    def value(kind: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(f"{kind}{text}", TensorProto.FLOAT, [f"dim{text}", 2])

    body = helper.make_graph(
        [helper.make_node("Neg", [f"mid{text}"], [f"inner{text}"], name=f"body{text}")],
        f"graph{text}",
        [],
        [value("inner")],
    )
    flag = helper.make_tensor_value_info(f"flag{text}", TensorProto.BOOL, [])
    nodes = [
        helper.make_node(
            f"Op{text}",
            [f"in{text}", f"w{text}"],
            [f"mid{text}"],
            name=f"node{text}",
            domain=f"dom{text}",
            **{f"a{text}": text},
        ),
        helper.make_node("If", [f"flag{text}"], [f"out{text}"], name=text, then_branch=body, else_branch=body),
    ]
    weight = helper.make_tensor(f"w{text}", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(nodes, f"main{text}", [value("in"), flag], [value("out")], [weight], doc_string=text)
    model = from_proto(helper.make_model(graph, producer_name=text))
    paths = ["", f"mod{text.replace('.', '')}", f"mod{text.replace('.', '')}.inner"]
    for path in paths:
        model.modules.add(Module(path, f"pkg.Class{text.replace('.', '')}"))
    for node in model.nodes():
        path = paths[1 if node.op_type == "If" else 2]
        node.attribute_to(Attribution(path, Source.SCOPE, f"rule{text}", 0.5))
    return model


@pytest.mark.parametrize("text", NASTY)
def test_nothing_of_a_name_runs(browser: Any, tmp_path: Path, text: str) -> None:
    model = nasty_model(text)
    overlay = {"name": f"over{text}", "unit": text, "values": {text: 1.5, f"node{text}": 2}}
    file = tmp_path / "page.html"
    view(model, [overlay], title=f"title{text}").save(file)
    page = Page(browser, file)
    module = f"mod{text.replace('.', '')}"
    page.expand(module)
    page.expand(module + ".inner")
    page.script(
        "document.querySelector('#graph .item[data-kind=node]').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    for mode in page.all("#colour option", "value"):
        page.colour(mode)
    page.search(text.strip().split()[0])
    assert page.hits() > 0
    page.click("#results .node")
    fields = page.details()
    shown = {field: value for field, value in fields.items() if field in ("name", "module", "class", "tag", "rule")}
    assert any(text in value for value in shown.values())
    assert fields["module"].startswith(module)
    assert page.one("#title") == f"title{text}"
    assert f"overlay:over{text}" in page.all("#colour option", "value")
    assert {f"node{text}", f"body{text}", text} >= set(page.all("#graph .item[data-kind=node]", "data-node"))
    assert page.script("return window.bad") is None
    assert (
        page.script("return document.querySelectorAll('img, iframe, object, embed, link, base, #graph script').length")
        == 0
    )
    assert page.script("return document.scripts.length") == 1
    assert page.console() == []
    assert page.requests() == []


def test_the_policy_lets_only_the_page_itself_run(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    view(nasty_model("x")).save(file)
    policy = Page(browser, file).one("meta[http-equiv]", "content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert " style=" not in file.read_text(encoding="utf-8").partition("<body>")[2].partition("<script")[0]
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("</body>", "<script>window.bad = 1</script><b style='color:red' onclick='x()'>x</b></body>")
    )
    changed = Page(browser, file)
    assert changed.script("return window.bad") is None
    assert len(changed.console()) >= 2  # the script and the style are refused


@pytest.mark.parametrize("text", NASTY)
def test_the_document_is_well_formed_json_in_one_script(tmp_path: Path, text: str) -> None:
    page = view(nasty_model(text)).html()
    data = page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    document = json.loads(data)
    assert f"node{text}" in document["nodes"]["name"]
    assert page.count("<script") == 2
