"""reference-attribution: tags carried from another file by the names that survive."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelexport.ir import load_model
from modelexport.ir.errors import ConfigError, InputError
from modelexport.ir.io.sidecar import write_sidecar
from modelexport.ir.io.writer import save_model, to_bytes
from modelexport.passes.evidence.records.reference_index import ReferenceIndex
from modelexport.passes.testing import assert_attributions, check, make_model, run_pass

_REFERENCE = """
# module: . my.Net
# module: enc my.Encoder
# module: dec my.Decoder
agraph (float[N] X) => (float[N] Y) {
    ["/enc/Relu"] a = Relu (X)            # scope: enc
    ["/enc/Exp"] "/enc/Exp_output_0" = Exp (a)    # scope: enc
    ["/dec/Neg"] c = Neg ("/enc/Exp_output_0")    # scope: dec
    [twice] d = Neg (c)                   # scope: dec
    [twice] Y = Neg (d)                   # scope: enc
}
"""
_OPTIMISED = """
agraph (float[N] X) => (float[N] Y) {
    ["/enc/Relu"] c = Relu (X)
    [fused1] "/enc/Exp_output_0" = Exp (c)
    ["/dec/Neg/SomeFusion/"] e = Neg ("/enc/Exp_output_0")
    [twice] f = Neg (e)
    [new_7] g = Neg (f)
    Y = Neg (g)
}
"""
_EXPECTED = """
/enc/Relu                enc   reference/reference-node-name
/enc/Exp_output_0        enc   reference/reference-output-name
e                        dec   reference/reference-prefix
f                        -
g                        -
Y                        enc   reference/reference-output-name
"""


def _tagged(folder: Path) -> Path:
    model = make_model(_REFERENCE)
    run_pass("attribute-embedding", model)
    save_model(model, folder / "reference.onnx")
    return folder / "reference.onnx"


def test_names_then_outputs_then_prefixes(tmp_path: Path) -> None:
    model = check("reference-attribution", _OPTIMISED, _EXPECTED, reference=_tagged(tmp_path))
    assert model.modules["enc"].cls == "my.Encoder"


def test_the_file_may_be_an_option(tmp_path: Path) -> None:
    check(f'reference-attribution{{reference="{_tagged(tmp_path)}"}}', _OPTIMISED, _EXPECTED)


def test_an_untagged_reference_is_attributed_first(tmp_path: Path) -> None:
    model = make_model(_REFERENCE.replace("# scope", "# was"))
    save_model(model, tmp_path / "plain.onnx")
    check(
        "reference-attribution",
        _OPTIMISED,
        "/enc/Relu enc reference/reference-node-name\ne dec reference/reference-prefix\n...",
        reference=tmp_path / "plain.onnx",
    )


def test_without_a_file_the_models_own_table_is_read() -> None:
    model = make_model(_REFERENCE)
    run_pass("attribute-embedding", model)
    proto = load_model(to_bytes(model)).proto
    for node in proto.graph.node:
        del node.metadata_props[:]
    check(
        "reference-attribution",
        load_model(proto.SerializeToString()),
        "/enc/Relu enc scope/given 1.00\n/dec/Neg dec scope/given 1.00\n...",
    )


def test_without_any_reference_it_is_an_error_unless_the_pipeline_is_named() -> None:
    with pytest.raises(ConfigError, match="reference=FILE"):
        run_pass("reference-attribution", make_model(_OPTIMISED))
    assert run_pass("reference-attribution", make_model(_OPTIMISED), named=True).skipped


def test_a_reference_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.onnx"):
        run_pass("reference-attribution", make_model(_OPTIMISED), reference=tmp_path / "nowhere.onnx", named=True)


def test_attributed_nodes_are_left_alone(tmp_path: Path) -> None:
    model = make_model(_OPTIMISED.replace("Relu (X)", "Relu (X)    # scope: mine"))
    run_pass("reference-attribution", model, reference=_tagged(tmp_path))
    assert_attributions(model, "/enc/Relu mine scope\n...")


def test_numbers_are_never_cut_off_names() -> None:
    index = ReferenceIndex()
    index.add("linear_1", ("x",), ("first", 1.0))
    index.add("linear_12", ("y",), ("twelfth", 1.0))
    model = make_model(
        "agraph (float[N] X) => (float[N] Y) {\n [linear_12_fused] a = Relu (X)\n [linear_1_3] Y = Relu (a)\n}"
    )
    fused, other = model.nodes()
    assert index.find(fused) == ("twelfth", "reference-prefix", 1.0, "linear_12")
    assert index.find(other) is None


def test_sidecar_content() -> None:
    index = ReferenceIndex.of_sidecar(
        {
            "modules": [{"path": "enc", "class": "my.Encoder", "calls": 1, "aliases": [], "tag": "/Net/Encoder"}],
            "node_tags": {
                "first": {"path": "enc", "confidence": 0.9, "outputs": ["a"]},
                "main#1:Exp": {"path": "", "confidence": 0.5, "outputs": ["b"]},
            },
        }
    )
    model = make_model("agraph (float[N] X) => (float[N] b) {\n [first] z = Relu (X)\n b = Relu (z)\n}")
    first, second = model.nodes()
    assert index.find(first) == ("enc", "reference-node-name", 0.9, "first")
    assert index.find(second) == ("", "reference-output-name", 0.5, "b")
    index.declare(model.modules)
    assert model.modules["enc"].cls == "my.Encoder"


@pytest.mark.parametrize(
    "sidecar",
    [
        {"modules": 3},
        {"modules": [{"path": 1}]},
        {"node_tags": []},
        {"node_tags": {"a": {"path": None}}},
        {"node_tags": {"a": 1}},
    ],
)
def test_damaged_sidecars_are_errors(sidecar: dict[str, object]) -> None:
    with pytest.raises(InputError, match="damaged"):
        ReferenceIndex.of_sidecar(sidecar)


def test_a_sidecar_file_is_read(tmp_path: Path) -> None:
    model = make_model(_REFERENCE)
    run_pass("attribute-embedding", model)
    write_sidecar(model, tmp_path / "reference_hierarchy.json")
    check(
        "reference-attribution",
        _OPTIMISED,
        "/enc/Relu enc reference/reference-node-name\n/enc/Exp_output_0 enc reference/reference-output-name\n...",
        reference=tmp_path / "reference_hierarchy.json",
    )


def test_tags_of_a_sidecar_that_names_no_torch_modules_are_computed(tmp_path: Path) -> None:
    text = _REFERENCE.replace("my.Encoder", "torch.nn.modules.linear.Linear")
    model = make_model(text)
    write_sidecar(model, tmp_path / "m_hierarchy.json", torch_nn=False)
    found = make_model(_OPTIMISED)
    run_pass("reference-attribution", found, reference=tmp_path / "m_hierarchy.json")
    assert [found.modules.tag(path) for path in ("", "enc", "dec")] == ["/Net", "/Net/Linear", "/Net/Decoder"]


def test_rule_bodies(tmp_path: Path) -> None:
    """An owner that shares an output's name: a decoder merged with its version for cached keys."""
    merged = """
    agraph (float[N] X, bool C) => (float[N] Y) {
        Y = If (C) <
            then_branch = one () => (float[N] u) {
                ["/enc/Relu"] t = Relu (X)
                ["/dec/Neg"] u = Neg (t)
            },
            else_branch = other () => (float[N] v) { ["/dec/Neg"] v = Neg (X) }
        >
    }
    """
    model = make_model(merged)
    run_pass("reference-attribution", model, reference=_tagged(tmp_path))
    owner = model.main.nodes[0].attribution
    assert owner is not None and (owner.path, owner.rule) == ("", "bodies")
    inside = merged.replace("/enc/Relu", "/enc/Exp").replace("/dec/Neg", "/enc/Relu")
    model = make_model(inside)
    run_pass("reference-attribution", model, reference=_tagged(tmp_path))
    owner = model.main.nodes[0].attribution
    assert owner is not None and (owner.path, owner.rule) == ("enc", "reference-output-name")
