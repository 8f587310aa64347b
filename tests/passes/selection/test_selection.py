"""What selectors match in a model, and what is said where they match nothing."""

from __future__ import annotations

import time

import pytest

from modelexport.ir import Attribution, Graph, Model, Module, Source, load_model
from modelexport.ir.errors import NothingSelectedError
from modelexport.passes.selection import Selector, select
from modelexport.passes.testing.text import read_text

TEXT = """
    <ir_version: 10, opset_import: ["" : 18, "com.example": 1]>
    g (float[2] x, bool flag) => (float[2] y)
    <float[2] w = {1.0, 2.0}, float[2] unused = {1.0, 2.0}> {
        ["first"] a = Mul (x, w)
        ["second"] b = com.example.Mul (a, w)
        c = Cast <to: int = 1> (b)
        d = If (flag) <
            then_branch = t () => (float[2] e) { ["inner"] e = Add (c, w) },
            else_branch = u () => (float[2] f) <float[2] w = {3.0, 4.0}> { ["other"] f = Sub (c, w) }
        >
        y = Neg (d)
    }
"""
WHERE = {  # first output -> path, source, confidence
    "a": ("blocks.1.norm", Source.SCOPE, 1.0),
    "b": ("blocks.10.norm", Source.REFERENCE, 0.9),
    "c": ("blocks.10", Source.INHERITED, 0.4),
    "d": ("", Source.SCOPE, 1.0),
    "e": ("blocks.1", Source.SCOPE, 1.0),
    "f": ("blocks.1.norm", Source.FALLBACK, 0.1),
}
MODULES = (
    Module("", "my.models.Net"),
    Module("blocks", "torch.nn.modules.container.ModuleList", 0),
    Module("blocks.1", "my.models.Block"),
    Module("blocks.10", "my.models.Block"),
    Module("blocks.1.norm", "torch.nn.modules.normalization.LayerNorm", aliases=("tied",)),
    Module("blocks.10.norm", "torch.nn.modules.normalization.LayerNorm"),
)


@pytest.fixture
def model() -> Model:
    model = load_model(read_text(TEXT)[0].SerializeToString())
    for module in MODULES:
        model.modules.add(module)
    for node in model.nodes():
        if node.first_output in WHERE:
            path, source, share = WHERE[node.first_output]
            node.attribute_to(Attribution(path, source, f"rule-{source}", share))
    return model


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("path:blocks.1", "a e f"),
        ("blocks.1", "a e f"),
        ("at:blocks.1", "e"),
        ("path:.", "a b c d e f"),
        ("at:.", "d"),
        ("path:blocks", "a b c e f"),
        ("**.norm", "a b f"),
        ('path~"1$"', "e"),
        ("class:Block", "a b c e f"),
        ("class:Net", "a b c d e f"),
        ("class:ModuleList", "a b c e f"),
        ("of:Block", "c e"),
        ("of:my.models.*", "c d e"),
        ("of:*.LayerNorm", "a b f"),
        ("of:models", ""),
        ("of~^Layer", "a b f"),
        ("of~^torch", "a b f"),
        ("tag:/Net/Block.1*", "a b c e f"),
        ("tag:/Net/Block.10", "c"),
        ("name:*", "a b c d y e f"),
        ("name:?????", "a e f"),
        ('name:""', "c d y"),
        ("op:Mul", "a b"),
        ("op:ai.onnx::Mul", "a"),
        ("op:*::*ul", "a b"),
        ("op~^M", "a b"),
        ("role:auxiliary", "c"),
        ("source:scope", "a d e"),
        ("rule:*inherited", "c"),
        ("weight:w", "a b e f"),
        ("weight:*", "a b e f"),
        ("makes:[ab]", "a b"),
        ("reads:c", "e f"),
        ("reads:w", "a b e f"),
        ("confidence<0.5", "c f"),
        ("confidence>=0.9", "a b d e"),
        ("depth=0", "d"),
        ("depth<=1", "c d e"),
        ("depth>1", "a b f"),
        ("not path:.", "y"),
        ("op:Mul and not path:blocks.10 or reads:d", "a y"),
        ("op:Mul and (path:blocks.10 or reads:x)", "a b"),
    ],
)
def test_terms(model: Model, selector: str, expected: str) -> None:
    chosen = select(model, [selector], allow_empty=True)
    assert " ".join(node.first_output for node in chosen.nodes) == expected
    question = Selector.parse(selector)
    assert [node for node in model.nodes() if question.matches(node)] == list(chosen.nodes)


def test_what_a_selection_knows(model: Model) -> None:
    chosen = select(model, ["path:blocks.10", "at:."])
    assert chosen.names == ["second", "main#2:Cast", "main#3:If"] and len(chosen) == 3
    assert chosen.modules == ["blocks.10.norm", "blocks.10", ""]
    assert chosen.values == ["b", "c", "d"] and chosen.weights == ["w"]
    assert select(model, ["name:other"]).weights == ["w"]


def test_a_changed_table_or_attribution_counts(model: Model) -> None:
    question, (node, *_) = Selector.parse("of:Block or at:new"), model.nodes()
    assert not question.matches(node)
    model.modules.add(Module("blocks.1.norm", "my.models.Block"))
    assert question.matches(node)
    node.attribute_to(Attribution("new", Source.SCOPE, "test", 1.0))
    assert question.matches(node)


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("path:blocks.12", "; the nearest path is blocks.10"),
        ("at:blocks.1.nrm", "; the nearest path is blocks.1.norm"),
        ("path:10.norm", "; the nearest path is blocks.10.norm"),
        ("path:block.1.norm", "; the nearest path is blocks.1.norm"),
        ("path:tied", "; the nearest path is blocks.1.norm"),
        ("class:layernorm", "; the nearest class is LayerNorm"),
        ("op:Mull and path:blocks", "; the nearest operator is Mul"),
        ("name:frist", "; the nearest name is first"),
        ("op:Mul and op:Neg", ""),
        ("path:qqqq", ""),
    ],
)
def test_nothing_selected_says_what_is_nearest(model: Model, selector: str, hint: str) -> None:
    with pytest.raises(NothingSelectedError) as caught:
        select(model, ["op:Mul", selector])
    assert str(caught.value) == f"no node matches '{selector}'{hint}" and caught.value.exit_code == 1


def test_without_classes_the_reason_is_said() -> None:
    model = load_model(read_text(TEXT)[0].SerializeToString())
    for node in model.nodes():
        node.attribute_to(Attribution("a.b", Source.SCOPE, "test", 1.0))
    with pytest.raises(NothingSelectedError, match="no class of a module is recorded"):
        select(model, ["class:LayerNorm"])


def test_a_large_graph_takes_linear_time() -> None:
    model = load_model(b"".join(_many(100_000)))
    paths = [f"blocks.{index}.norm" for index in range(200)]
    for path in paths:
        model.modules.add(Module(path, "torch.nn.LayerNorm"))
    shared = [Attribution(path, Source.SCOPE, "test", 1.0) for path in paths]
    for index, node in enumerate(model.main.nodes):
        node.attribute_to(shared[index % 200])
    text = "class:LayerNorm and op:Relu and (not path:blocks.1[0-9] or depth>5) and name:*7*"
    started = time.process_time()
    chosen = select(model, [text])
    seconds = time.process_time() - started
    assert len(chosen) == sum("7" in str(index) and not 10 <= index % 200 <= 19 for index in range(100_000))
    assert seconds < 1


def _many(count: int) -> list[bytes]:
    import onnx
    from onnx import helper

    nodes = [helper.make_node("Relu", [f"v{index}"], [f"v{index + 1}"], name=f"n{index}") for index in range(count)]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("v0", f"v{count}"))
    return [helper.make_model(helper.make_graph(nodes, "g", [x], [y])).SerializeToString()]


def test_bodies_read_initializers_around_them(model: Model) -> None:
    bodies: list[Graph] = [graph for graph in model.graphs() if graph.kind == "body"]
    assert [select(model, ["weight:w and name:inner"]).weights, len(bodies)] == [["w"], 2]
