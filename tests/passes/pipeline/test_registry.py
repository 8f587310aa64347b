"""Names of passes: ours, those of plug-ins, and what goes wrong with either."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from modelexport.ir import Model
from modelexport.ir.errors import PipelineError
from modelexport.passes import Pass, PassContext, PassResult, Pipeline
from modelexport.passes.pipeline import registry as module
from modelexport.passes.pipeline.listing import list_passes
from modelexport.passes.pipeline.registry import PASSES, PIPELINES, Registry


@dataclass(frozen=True)
class Idle(Pass):
    """Do nothing.

    More about it.
    """

    name: ClassVar[str] = "idle"
    count: int = 3

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        return PassResult()


NAMED = "idle{count=7}"
NOT_A_PASS = 42


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """What the installed distributions register; the test fills it."""
    points: list[EntryPoint] = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    return points


def point(name: str, target: str) -> EntryPoint:
    return EntryPoint(name, target, module.GROUP)


def test_every_pass_of_ours_is_registered_under_its_own_name() -> None:
    registry = Registry(PASSES, PIPELINES)
    for name, target in PASSES.items():
        found = registry.find(name)
        assert isinstance(found, type) and found.name == name
        stem = name.replace("-", "_")
        module, _, class_name = target.partition(":")
        assert class_name == name.title().replace("-", "") and module.rpartition(".")[2] == stem
        assert module.split(".")[:2] == ["modelexport", "passes"]
        assert found.__doc__ and found.__module__ == module
    for name in PIPELINES:
        Pipeline.parse(name, registry=registry).check()


def test_a_plugin_adds_passes_and_named_pipelines(plugins: list[EntryPoint]) -> None:
    plugins += [point("idle", f"{__name__}:Idle"), point("busy", f"{__name__}:NAMED")]
    registry = Registry({}, plugins=True)
    assert Pipeline.parse("busy", registry=registry).passes == (Idle(7),)
    listing, warnings = list_passes(registry)
    assert warnings == []
    assert listing["pipelines"] == {"busy": "idle{count=7}"}
    assert [each["name"] for each in listing["passes"]] == ["idle"]


@pytest.mark.parametrize("name", ["scope-attribution", "htp"])
def test_a_plugin_can_not_take_a_name_of_ours(plugins: list[EntryPoint], name: str) -> None:
    plugins.append(point(name, "elsewhere:Thing"))
    with pytest.raises(PipelineError, match=f"'{name}' is registered by both modelexport and elsewhere:Thing"):
        Registry(PASSES, PIPELINES, plugins=True)


def test_two_plugins_can_not_share_a_name(plugins: list[EntryPoint]) -> None:
    plugins += [point("mine", "b:Thing"), point("mine", "a:Thing")]
    with pytest.raises(PipelineError, match="'mine' is registered by both a:Thing and b:Thing"):
        Registry({}, plugins=True)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:Thing", "ModuleNotFoundError"),
        ("json:Missing", "AttributeError"),
        (f"{__name__}:NOT_A_PASS", "42 is not a Pass"),
        (f"{__name__}:Idle", "it calls itself 'idle'"),
    ],
)
def test_a_broken_plugin_fails_only_when_it_is_used(plugins: list[EntryPoint], target: str, reason: str) -> None:
    plugins.append(point("broken", target))
    registry = Registry({"idle": Idle}, plugins=True)
    assert len(Pipeline.parse("idle", registry=registry)) == 1
    with pytest.raises(PipelineError, match=r"the pass 'broken' of .* can't be loaded") as caught:
        Pipeline.parse("idle,broken", registry=registry)
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.column == 5
    listing, warnings = list_passes(registry)
    assert [each["name"] for each in listing["passes"]] == ["idle"]
    assert len(warnings) == 1 and reason in warnings[0]


def test_a_listing_describes_options_facts_and_origin() -> None:
    listing, _ = list_passes(Registry({"idle": Idle}, {"twice": "idle,idle"}))
    assert listing == {
        "passes": [
            {
                "name": "idle",
                "summary": "Do nothing.",
                "options": [{"name": "count", "type": "int", "default": "3"}],
                "requires": [],
                "establishes": [],
                "origin": "modelexport",
            }
        ],
        "pipelines": {"twice": "idle,idle"},
    }


def test_a_registry_can_be_extended_without_changing_it() -> None:
    base = Registry({})
    assert Pipeline.parse("two", registry=base.extended(Idle, pipelines={"two": "idle,idle"})).passes == (
        Idle(),
        Idle(),
    )
    with pytest.raises(PipelineError):
        Pipeline.parse("idle", registry=base)


@pytest.mark.parametrize(
    "code",
    ["import modelexport.passes", "from modelexport.passes.pipeline.registry import Registry; Registry.default()"],
)
def test_names_are_known_without_loading_anything_heavy(code: str) -> None:
    heavy = "[name for name in ('onnx', 'numpy', 'networkx', 'rich', 'torch') if name in sys.modules]"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print({heavy})"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
