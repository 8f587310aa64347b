"""``modelexport view``: what it writes, where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelexport.cli.modelexport import main


def test_the_tree_goes_to_stdout(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(model)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["module", "nodes", "with", "inner", "share", "confidence"]
    assert [line.split()[0] for line in out[1:]] == ["/Model", "encoder"]
    assert main(["view", str(model), "--depth", "0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "form", "start"),
    [
        ("m.html", None, "<!DOCTYPE html>"),
        ("m.txt", None, "module"),
        ("m.mmd", None, "flowchart TB"),
        ("m.dot", None, "digraph"),
        ("m.GRAPHML", None, "<?xml"),
        ("m.json", None, '{"label"'),
        ("m.html", "yed", "<?xml"),
        ("any", "mermaid", "flowchart TB"),
    ],
)
def test_the_suffix_says_what_is_written(model: Path, name: str, form: str | None, start: str) -> None:
    assert main(["view", str(model), "-o", name, *(["--format", form] if form else [])]) == 0
    assert Path(name).read_text(encoding="utf-8").startswith(start)


@pytest.mark.parametrize("form", ["html", "tree", "mermaid", "dot", "graphml", "yed", "model-explorer"])
def test_every_form_goes_to_stdout(model: Path, form: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    before = sorted(Path().iterdir())
    assert main(["view", str(model), "-o", "-", "--format", form]) == 0
    assert len(capfdbinary.readouterr().out) > 50
    assert sorted(Path().iterdir()) == before


def test_node_data_is_written_beside_model_explorers_graphs(model: Path) -> None:
    Path("o.json").write_text(json.dumps({"name": "my/time", "values": {"a": 1}}))
    assert main(["view", str(model), "-o", "m.json", "--overlay", "o.json"]) == 0
    names = sorted(path.name for path in Path().glob("m.*"))
    assert names == ["m.confidence.node_data.json", "m.json", "m.my_time.node_data.json", "m.source.node_data.json"]
    results = json.loads(Path("m.my_time.node_data.json").read_text())["g"]["results"]
    assert results == {"/encoder/Relu": {"value": 1}}


def test_node_data_of_like_names_is_in_files_of_their_own(model: Path) -> None:
    for file, name in (("o.json", "my/time"), ("p.json", "my_time"), ("q.json", "My?time")):
        Path(file).write_text(json.dumps({"name": name, "values": {"a": 1}}))
    overlays = [word for file in ("o.json", "p.json", "q.json") for word in ("--overlay", file)]
    assert main(["view", str(model), "-o", "m.json", *overlays]) == 0
    files = sorted(Path().glob("m.*ime*.node_data.json"))
    assert len({file.name.lower() for file in files}) == 3
    names = {graph["name"] for file in files for graph in json.loads(file.read_text()).values()}
    assert names == {"my/time", "my_time", "My?time"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-o", "m.png"], 2, "the suffix is none of .html"),
        (["--depth", "1", "--format", "html"], 2, "--depth belongs to --format tree, mermaid, dot"),
        (["--format", "svg"], 2, "svg"),
        (["-o", "nowhere/m.html"], 2, "does not exist"),
        (["-o", "model.onnx", "--format", "html"], 2, "nothing is written over it"),
        (["--select", "path:nowhere"], 2, "error: --select: no node matches"),
        (["--select", "path:("], 2, "error:"),
        (["--overlay", "none.json"], 2, "none.json"),
        (["--overlay", "bad.json"], 2, "bad.json: not an overlay"),
        (["-o", "m.html", "--overlay", "other.json"], 1, "other.json: nothing in it fits the model"),
    ],
)
def test_how_it_fails(
    model: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.json").write_text("{")
    Path("other.json").write_text('{"values": {"nowhere": 1}}')
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert main(["view", str(model), *arguments]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_what_does_not_fit_is_counted(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("o.json").write_text('{"name": "t", "values": {"a": 1, "x": 2, "y": 3}}')
    assert main(["view", str(model), "--overlay", "o.json"]) == 0
    captured = capsys.readouterr()
    assert "warning: o.json: 2 names are not in the model; first: x" in captured.err
    assert captured.out.splitlines()[0].split()[-1] == "t"


def test_attributing_in_memory_is_said_when_asked(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(model), "-v", "-o", "m.html"]) == 0
    said = capsys.readouterr().err
    assert "3 nodes have no tag" in said and "wrote m.html" in said


def test_a_selection(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(model), "--select", "op:Exp", "--format", "dot"]) == 0
    assert "encoder" in capsys.readouterr().out


def test_the_demo_ends_with_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["demo", "here", "--exporter", "torchscript"]) == 0
    page = Path("here/demo.html")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert f"page     {page.absolute().as_uri()}" in capsys.readouterr().out
