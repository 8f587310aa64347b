"""node-naming: names from modules, and the original bytes back."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode

import onnx
import pytest
from onnx import compose

from modelexport.ir import Model, load_model
from modelexport.ir.errors import ConfigError
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.merged_tags import parts_of
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager
from modelexport.passes.testing import make_model, run_pass
from modelexport.passes.testing.text import read_text

TEXT = """
<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
agraph (float[4] X, bool C) => (float[4] Y)
<float[4] w = {1, 2, 3, 4}> {
    ["/enc/layer.0/Mul"] a = Mul (X, w)
    ["dup"] b = Add (a, w)                  # scope: enc.layer.0
    ["dup"] b2 = Add (b, w)                 # scope: enc.layer.0
    [""] c = If (C) <                       # scope: head
      then_branch = t () => (float[4] u) {
        ["inner"] u = Relu (b2)             # scope: head
      },
      else_branch = e () => (float[4] v) {
        v0 = Relu (b2)                      # scope: head
        v = local.fn (v0)                   # scope: odd%name.a/b
      }>
    Y = Neg (c)                             # scope: .
}
<domain: "local", opset_import: ["" : 18]>
fn (p) => (q) {
    q = Relu (p)                            # scope: head
}
# module: . my.Net
# module: enc my.Enc
# module: enc.layer torch.nn.ModuleList calls=0
# module: enc.layer.0 my.Layer
# module: head my.Head
# module: odd%name my.Odd calls=0
# module: odd%name.a/b my.Odd
"""
NEW = [
    "/enc/layer.0/Mul",
    "/enc/layer.0/Add",
    "/enc/layer.0/Add_1",
    "/head/If",
    "/Neg",
    "/head/Relu",
    "/head/Relu_1",
    "/odd%25name.a%2Fb/fn",
    "/head/Relu_2",
]


def names(model: Model) -> list[str]:
    return [node.name for node in model.nodes()]


def test_names_follow_called_modules() -> None:
    model = make_model(TEXT)
    result = run_pass("node-naming", model)
    assert names(model) == NEW and result.changed == 8 and not result.structure_changed
    written = load_model(to_bytes(model))
    assert names(written) == NEW
    assert written.main.nodes[1].metadata["htp.name"] == "dup" and written.main.nodes[3].metadata["htp.name"] == ""
    (key,) = embedded_tags.old_names_keys(written.metadata)
    table = json.loads(zlib.decompress(b64decode(written.metadata[key])))
    assert table["v"] == 1 and table["values"] == []
    assert table["names"][:2] == [["main", "/enc/layer.0/Add", "dup"], ["main", "/enc/layer.0/Add_1", "dup"]]
    assert table["names"][2][2] is None  # a name that is there and empty
    assert table["names"][3] == ["main", "/Neg", ""]


def test_names_that_are_kept_count_as_taken() -> None:
    model = make_model(
        """
        agraph (float[4] X) => (float[4] Y) {
            ["/enc/Relu"] a = Relu (X)
            ["x"] b = Relu (a)       # scope: enc
            ["/enc/Relu_1"] c = Relu (b)
            ["/twice"] d = Relu (c)  # scope: enc
            ["/twice"] Y = Relu (d)  # scope: enc
        }
        """
    )
    run_pass("node-naming", model)
    assert names(model) == ["/enc/Relu", "/enc/Relu_2", "/enc/Relu_1", "/enc/Relu_3", "/enc/Relu_4"]
    again = load_model(to_bytes(model))
    before = to_bytes(again)
    run_pass("scope-attribution", again)
    assert run_pass("node-naming", again).changed == 0 and to_bytes(again) == before


def test_all_names_are_made_anew_where_asked() -> None:
    model = make_model(TEXT.replace('"/enc/layer.0/Mul"] a = Mul (X, w)', '"/other/Mul"] a = Mul (X, w)  # scope: enc'))
    run_pass("node-naming{keep-scoped=false}", model)
    assert names(model)[0] == "/enc/Mul"


@pytest.mark.parametrize("options", ["", "{values=true}", "{keep-scoped=false values=true}"])
@pytest.mark.parametrize("place", ["htp,node-naming", "node-naming after"])
def test_undo_gives_the_original_bytes(options: str, place: str) -> None:
    source = to_bytes(load_model(read_text(_plain())[0].SerializeToString()))
    model = load_model(source)
    text = f"htp,node-naming{options}" if place != "node-naming after" else (
        f"scope-attribution,context-inheritance,fallback-tagging,node-naming{options},attribute-embedding"
    )  # fmt: skip
    PassManager(text).run(model)
    named = to_bytes(model)
    tables = parts_of(load_model(named), []).tables()
    assert tables is not None
    assert {(node.graph.scope, node.name) for node in load_model(named).nodes()} == set(tables.by_name)
    assert len(set(names(load_model(named)))) == len(names(model))
    if "values" in options:
        assert load_model(named).main.nodes[1].outputs == ("/enc/layer.0/Add_output_0",)
        assert load_model(named).main.nodes[-1].outputs == ("Y",)
    back = load_model(named)
    PassManager("node-naming{undo=true},strip-tags").run(back)
    assert to_bytes(back) == source


def _plain() -> str:
    """The text with scopes as metadata of its own, so that a pipeline finds them."""
    lines = []
    for line in TEXT.splitlines():
        head, comment, path = line.partition("# scope: ")
        if line.startswith("# module"):
            continue
        scopes = [path.strip() if path.strip() != "." else ""]
        meta = json.dumps({"pkg.torch.onnx.name_scopes": repr([*scopes, "op"])})
        lines.append(f"{head}# meta: {meta}" if comment else line)
    return "\n".join(lines)


def test_undo_leaves_what_was_renamed_since() -> None:
    model = make_model(TEXT)
    run_pass("node-naming", model)
    later = load_model(to_bytes(model))
    later.main.nodes[1].rename("mine")
    run_pass("node-naming{undo=true}", later)
    assert names(later)[:3] == ["/enc/layer.0/Mul", "mine", "dup"]
    assert not embedded_tags.old_names_keys(later.metadata) and all(
        "htp.name" not in node.metadata for node in later.nodes()
    )


def test_a_second_naming_keeps_the_first_names() -> None:
    model = make_model(TEXT)
    run_pass("node-naming", model)
    run_pass("node-naming{keep-scoped=false values=true}", model)
    back = load_model(to_bytes(model))
    run_pass("node-naming{undo=true}", back)
    assert names(back)[1:3] == ["dup", "dup"] and back.main.nodes[1].outputs == ("b",)


def test_without_its_table_the_nodes_know_their_names() -> None:
    model = make_model(TEXT)
    run_pass("node-naming", model)
    model.patch_metadata(dict.fromkeys(embedded_tags.old_names_keys(model.metadata)))
    back = load_model(to_bytes(model))
    run_pass("node-naming{undo=true}", back)
    assert names(back)[1:4] == ["dup", "dup", ""]


@pytest.mark.parametrize("prefixes", [("first_", "second/"), ("", "second_")])
@pytest.mark.parametrize("digest", [True, False])
def test_models_with_old_names_merge_and_get_them_back(prefixes: tuple[str, str], digest: bool) -> None:
    """Names as composing tools make them of two models' names; tables of older versions have no digest."""
    first, second = make_model(TEXT), make_model(TEXT.replace('"dup"', '"dop"'))
    for model in (first, second):
        run_pass("node-naming{values=true}", model)
    if not digest:
        (key,) = embedded_tags.old_names_keys(first.metadata)
        first.patch_metadata({"htp.names": first.metadata[key], key: None})
    both = [onnx.load_from_string(to_bytes(model)) for model in (first, second)]
    merged = compose.merge_models(*both, io_map=[("Y", "X")], prefix1=prefixes[0], prefix2=prefixes[1])
    back = load_model(merged.SerializeToString())
    half = len(both[0].graph.node)
    assert [node.name.startswith(prefixes[1]) for node in back.main.nodes] == [False] * half + [True] * half
    run_pass("node-naming{undo=true}", back)
    one, other = back.main.nodes[1], back.main.nodes[half + 1]
    assert (one.name, other.name) == (f"{prefixes[0]}dup", f"{prefixes[1]}dop")
    assert (one.outputs, other.outputs) == ((f"{prefixes[0]}b",), (f"{prefixes[1]}b",))
    assert not embedded_tags.old_names_keys(back.metadata)


def test_a_damaged_table_is_ignored_with_a_warning() -> None:
    model = make_model(TEXT)
    run_pass("node-naming", model)
    for bad in ("?", embedded_tags.pack("names", []), embedded_tags.pack_all({"names": [[1, 2, 3]], "values": []})):
        model.patch_metadata({"htp.names": bad})
        damaged = load_model(to_bytes(model))
        PassManager("node-naming{undo=true}").run(damaged)
        assert any("table of old names" in line for line in damaged.warnings)


def test_without_modules_it_says_what_to_do() -> None:
    model = load_model(read_text("agraph (float[4] X) => (float[4] Y) { Y = Relu (X) }")[0].SerializeToString())
    with pytest.raises(ConfigError, match="put htp before it"):
        run_pass("node-naming", model)
    assert run_pass("node-naming{undo=true}", model).changed == 0


def test_tags_of_the_file_are_read_first() -> None:
    model = make_model(TEXT)
    PassManager("fallback-tagging,attribute-embedding").run(model)
    later = load_model(to_bytes(model))
    PassManager("node-naming").run(later)
    assert names(later) == NEW
    tables = parts_of(load_model(to_bytes(later)), []).tables()
    assert tables is not None and ("main", "/enc/layer.0/Add") in tables.by_name
