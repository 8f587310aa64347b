"""Classes and levels that tags alone tell of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelexport.ir.modules import Module, ModuleTable
from modelexport.ir.modules.spelled import agree, modules_of_tags

_NAMES = st.sampled_from(["layer", "fc", "0", "1", "attn", "Linear"])
_CLASSES = st.sampled_from(["Linear", "Block", "a.b.Attn", "Odd/Name", "layer"])


@st.composite
def tables(draw: st.DrawFn) -> ModuleTable:
    """A random tree; some modules are containers that nobody calls."""
    table = ModuleTable([Module("", draw(_CLASSES))])
    paths = [""]
    for _ in range(draw(st.integers(1, 12))):
        parent = draw(st.sampled_from(paths))
        path = f"{parent}.{draw(_NAMES)}".removeprefix(".")
        if path not in table:
            table.add(Module(path, draw(_CLASSES), calls=draw(st.sampled_from([0, 1, 1, 2]))))
            paths.append(path)
    return table


@given(tables(), st.data())
def test_what_is_told_is_true(table: ModuleTable, data: st.DataObject) -> None:
    tags = table.tags()
    called = [module.path for module in table if module.calls]
    shown = data.draw(st.lists(st.sampled_from(called), min_size=1, unique=True))
    for module in modules_of_tags({path: tags[path] for path in shown}):
        assert module.path in table
        assert table.is_called(module.path)
        assert module.tag == tags[module.path]
        assert module.class_name in ("", table[module.path].class_name)


def test_levels_have_their_classes() -> None:
    tags = {
        "body.layers.0.attn.q": "/Dec/Block.0/Attn/Linear.q",
        "body.layers.0.norm": "/Dec/Block.0/LayerNorm",
        "body.layers.1.attn.q": "/Dec/Block.1/Attn/Linear.q",
    }
    assert [(module.path, module.cls) for module in modules_of_tags(tags)] == [
        ("", "Dec"),
        ("body.layers.0", "Block"),
        ("body.layers.1", "Block"),
        ("body.layers.0.attn", "Attn"),
        ("body.layers.0.norm", "LayerNorm"),
        ("body.layers.1.attn", "Attn"),
        ("body.layers.0.attn.q", "Linear"),
        ("body.layers.1.attn.q", "Linear"),
    ]


def test_a_level_that_two_paths_fit_is_none() -> None:
    told = [module.path for module in modules_of_tags({"a.b.fc": "/Net/Block/Linear"})]
    assert told == ["", "a.b.fc"]
    told = [module.path for module in modules_of_tags({"a.b.fc": "/Net/Block/Linear", "a.b": "/Net/Block"})]
    assert told == ["", "a.b", "a.b.fc"]


def test_tags_without_classes_tell_levels_only() -> None:
    told = modules_of_tags({"layer.0.fc": "/Model/layer.0/fc"})
    assert [(module.path, module.cls) for module in told] == [("layer.0", ""), ("layer.0.fc", "")]


def test_collapsed_tags_tell_the_root_only() -> None:
    told = modules_of_tags({"fc.a": "/Net/Block", "fc.b": "/Net/Block"})
    assert [(module.path, module.cls) for module in told] == [("", "Net")]


def test_tags_of_two_models_do_not_agree() -> None:
    assert agree({"fc": "/Net/Linear.fc", "x": "/Net/ReLU"}, {"fc": "/Net/Linear"})
    assert not agree({"fc": "/Net/Linear"}, {"fc": "/Other/Linear"})
    assert not agree({"fc": "/Net/Linear"}, {"gc": "/Net/Linear"})
    assert modules_of_tags({"fc": "/Net/Linear", "gc": "/Other/Linear"}) == []
