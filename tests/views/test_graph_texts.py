"""What the texts for other programs say in detail: depth, faint edges, borders of clusters, functions, infinity."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelexport.cli.modelexport import main
from modelexport.core.views import View, view
from modelexport.passes.testing import make_model

READERS = "\n".join(f"[r{i}] r{i} = Add (s, v)   # scope: r{i}.inner.deep" for i in range(9))
PATHS = [top + inner for top in ("mask", *(f"r{i}" for i in range(9))) for inner in ("", ".inner", ".inner.deep")]
CALLED = "\n".join(f"# module: {path} my.Module" for path in PATHS)
MASK = f"""
    {CALLED}
    g (float[N] X) => (float[N] r0) {{
        [mask] s = Exp (X)   # scope: mask.inner.deep
        [own] t = Neg (X)    # scope: mask
        [v] v = Neg (t)      # scope: source
        {READERS}
        [last] w = Sin (r0)  # scope: last
    }}
"""
FUNCTION = """
    <ir_version: 9, opset_import: ["": 17, "my": 1]>
    g (float[N] X) => (float[N] Y) {
        [call] Y = my.F (X)
    }
    <domain: "my", opset_import: ["": 17]>
    F (x) => (y) {
        [inner] y = Exp (x)
    }
"""


@pytest.fixture
def mask() -> View:
    return view(make_model(MASK))


def numbers(picture: View) -> dict[str, str]:
    return {module.path: f"m{module.index}" for module in picture.data.modules}


def test_what_many_read_is_dashed(mask: View) -> None:
    number = numbers(mask)
    lines = mask.dot(1).splitlines()
    ends = f"{number['mask']} -> {number['r3']} "
    assert [line for line in lines if ends in line and "style=dashed" in line]
    few = f"{number['r0']} -> {number['last']} "
    assert [line for line in lines if few in line and "dashed" not in line]
    text = mask.mermaid(1)
    assert f"  {number['mask']} -.-> {number['r3']}\n" in text and f"  {number['r0']} --> {number['last']}\n" in text


def test_edges_end_at_the_border_of_a_cluster(mask: View) -> None:
    number = numbers(mask)
    edges = [line for line in mask.dot(2).splitlines() if " -> " in line]
    whole = f"ltail=cluster_{number['mask']}, lhead=cluster_{number['r0']}"
    assert [line for line in edges if whole in line and f"-> {number['r0.inner']} [" in line]
    assert not [line for line in edges if f"cluster_{number['source']}" in line]  # a box is no cluster


@pytest.mark.parametrize("form", ["mermaid", "dot"])
def test_the_depth_is_two_unless_given(mask: View, form: str, tmp_path: Path) -> None:
    make = getattr(mask, form)
    assert make(1) != make() == make(2) != make(3)
    assert mask.text(form) == make(2) and mask.text(form, 0) == make(0)
    source = tmp_path / "model.onnx"
    source.write_bytes(make_model(MASK).proto.SerializeToString())
    for options, depth in (([], 2), (["--depth", "1"], 1)):
        target = tmp_path / "out"
        assert main(["view", str(source), "-o", str(target), "--format", form, *options]) == 0
        assert target.read_text() == getattr(view(source), form)(depth)


def test_mermaids_limit_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = "\n".join(f'["/a{i}/Relu"] v{i} = Relu (v{i - 1})' for i in range(1, 600))
    source = tmp_path / "model.onnx"
    source.write_bytes(make_model(f"g (float[N] v0) => (float[N] v599) {{\n{chain}\n}}").proto.SerializeToString())
    for options, said in (([], "598 edges: Mermaid draws at most 500"), (["--depth", "0"], "")):
        assert main(["view", str(source), "-o", str(tmp_path / "m.mmd"), *options]) == 0
        assert said in (err := capsys.readouterr().err) and ("--depth 0 fits" in err) == bool(said)
    assert main(["view", str(source), "-o", str(tmp_path / "m.dot")]) == 0
    assert "depth" not in capsys.readouterr().err


@pytest.mark.parametrize(("size", "shown"), [(19_900_000, "<iframe"), (21_000_000, "<pre>")])
def test_a_notebook_takes_twenty_megabytes(mask: View, size: int, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(View, "html", lambda _: "x" * size)
    assert mask._repr_html_().startswith(shown)


def test_a_node_that_calls_a_function_leads_to_its_graph() -> None:
    main_graph, function = view(make_model(FUNCTION)).model_explorer()["graphs"]
    (call,) = (node for node in main_graph["nodes"] if node["id"] == "call")
    assert call["subgraphIds"] == [function["id"]]
    assert [node["id"] for node in function["nodes"]] == ["input:x", "inner", "output:y"]


def test_infinity_is_spelled_as_each_form_has_it(mask: View) -> None:
    picture = view(make_model(MASK), [{"name": "error", "aggregate": "max", "values": {"mask": float("inf"), "v": 1}}])
    assert ">INF</data>" in picture.graphml() and ">inf</data>" not in picture.graphml()
    assert picture.node_data()["error"]["g"]["results"] == {"v": {"value": 1}}  # JSON has no infinity


def test_keys_of_overlays_are_apart_from_those_of_nodes() -> None:
    picture = view(make_model(MASK), [{"name": "depth", "values": {"v": 7}}, {"name": "depth", "values": {"v": 8}}])
    names = [line.split('attr.name="')[1].split('"')[0] for line in picture.graphml().splitlines() if "<key" in line]
    assert names[-3:] == ["overlay depth", "depth (2)", "value"] and len(set(names)) == len(names)
