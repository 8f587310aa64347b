"""layer-annotation and drop-value-info."""

from __future__ import annotations

import onnx
import pytest

from modelexport.ir import load_model
from modelexport.ir.errors import ConfigError, PipelineError
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.testing import make_model, run_pass

TEXT = """
agraph (float[4] X) => (float[4] Y) {
    a = Relu (X)    # scope: enc.layer.0.act
    b = Relu (a)    # scope: enc.layer.1   meta
                    # meta: layer_ann=theirs
    Y = Neg (b)     # scope: .
}
# module: . my.Net
# module: enc my.Enc
# module: enc.layer torch.nn.ModuleList calls=0
# module: enc.layer.0 my.Layer
# module: enc.layer.1 my.Layer
# module: enc.layer.0.act torch.nn.ReLU
""".replace("   meta\n", "\n")


def labels(data: bytes) -> list[str | None]:
    return [node.metadata.get("layer_ann") for node in load_model(data).nodes()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("depth=1", ["enc", "enc", None]),
        ("depth=2", ["enc.layer.0", "enc.layer.1", None]),
        ("depth=9", ["enc.layer.0.act", "enc.layer.1", None]),
        ('label=gpu select="op:Relu and not enc.layer.1"', ["gpu", "theirs", None]),
        ('label="two words" select=path:.', ["two words"] * 3),
    ],
)
def test_labels_and_the_bytes_back(options: str, expected: list[str | None]) -> None:
    source = to_bytes(load_model(make_model(TEXT).proto.SerializeToString()))
    model = make_model(TEXT)
    PassManager(f"layer-annotation{{{options}}},attribute-embedding{{interop=none}}", assume=_tagged()).run(model)
    assert labels(to_bytes(model)) == expected
    again = load_model(to_bytes(model))
    PassManager(f"layer-annotation{{{options}}}").run(again)
    assert to_bytes(again) == to_bytes(model)
    PassManager("htp,strip-tags").run(again)
    assert to_bytes(again) == source


def _tagged() -> list[object]:
    from modelexport.ir.facts import Fact

    return [Fact.TAGGED]


def test_it_may_stand_several_times() -> None:
    model = make_model(TEXT)
    PassManager('layer-annotation{depth=1},layer-annotation{label=last select="op:Neg or at:enc.layer.1"}').run(model)
    assert labels(to_bytes(model)) == ["enc", "last", "last"]
    run_pass("strip-tags", model)
    assert labels(to_bytes(model)) == [None, "theirs", None]


@pytest.mark.parametrize(
    "options",
    [
        "",
        "{label=x}",
        "{select=a}",
        "{depth=0}",
        "{depth=1 label=x}",
        '{label="" select=a}',
        '{label=x select="a and"}',
    ],
)
def test_wrong_options(options: str) -> None:
    with pytest.raises(PipelineError):
        Pipeline.parse(f"layer-annotation{options}")


def test_nothing_selected_names_the_option() -> None:
    with pytest.raises(ConfigError, match="layer-annotation: select: no node matches 'op:Add'") as caught:
        run_pass('layer-annotation{label=x select="op:Add"}', make_model(TEXT))
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match="put htp before it"):
        run_pass("layer-annotation{depth=1}", load_model(make_model(TEXT).proto.SerializeToString()))


def test_value_info_is_dropped_at_every_depth() -> None:
    model = make_model(
        """
        agraph (float[4] X, bool C) => (float[4] Y) <float[4] a> {
            a = Relu (X)
            Y = If (C) <
              then_branch = t () => (float[4] u) <float[4] b> { b = Relu (a)
                u = Neg (b) },
              else_branch = e () => (float[4] v) { v = Neg (a) }>
        }
        """
    )
    assert run_pass("drop-value-info", model).notes == {"dropped": 2}
    written = onnx.ModelProto.FromString(to_bytes(model))
    assert not written.graph.value_info and not written.graph.node[1].attribute[0].g.value_info
    assert run_pass("drop-value-info", model).notes == {"dropped": 0}
    expected = make_model("agraph (float[4] X) => (float[4] Y) <float[4] a> { a = Relu (X) \n Y = Neg (a) }").proto
    kept = load_model(expected.SerializeToString())
    run_pass("drop-value-info", kept)
    del expected.graph.value_info[:]
    assert to_bytes(kept) == expected.SerializeToString(deterministic=True)
