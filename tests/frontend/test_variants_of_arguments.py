"""Calls of generated signatures: keywords in any order, names that clash, and one rule for API and commands."""

from __future__ import annotations

import json
import linecache
import random
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from modelexport import HierarchyExporter
from modelexport.cli import modelexport as command
from modelexport.ir.errors import ConfigError, ExportError

EXPORTERS = ["torchscript", "dynamo"]
SEEDS = [pytest.param(0), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))]
WORDS = ("input", "x", "args", "mask", "ids", "weight", "output", "data", "y", "linear", "past", "kwargs_", "add")


class Named(nn.Module):
    """A forward of its own signature: each tensor has its own share in the result, which tells who got what."""

    def __init__(self, parameters: list[tuple[str, str]]) -> None:
        super().__init__()
        self.shares = nn.ParameterList([torch.full((3,), 2.0**at) for at, _ in enumerate(parameters)])
        names = [name for name, _ in parameters]
        text = f"def forward(self, {signature(parameters)}): return self.total([{', '.join(names)}])"
        space: dict[str, Any] = {}
        name = f"<{type(self).__name__}-{'-'.join(names)}>"
        linecache.cache[name] = (len(text), None, [text], name)
        exec(compile(text, name, "exec"), space)
        type(self).forward = space["forward"]

    def total(self, values: list[Any]) -> Tensor:
        result = torch.zeros(3)
        for share, value in zip(self.shares, values, strict=True):
            if value is not None:
                result = result + share * value
        return result.tanh() + result


def signature(parameters: list[tuple[str, str]]) -> str:
    """The parameters as text: ``positional`` and ``optional`` ones, then those that go by keyword only."""
    spelled = {"positional": "{}", "optional": "{}=None", "number": "{}=0.5", "keyword": "{}", "asked": "{}=None"}
    kinds = [kind for _, kind in parameters]
    star = next((at for at, kind in enumerate(kinds) if kind in ("keyword", "asked")), None)
    texts = [spelled[kind].format(name) for name, kind in parameters]
    return ", ".join(texts if star is None else [*texts[:star], "*", *texts[star:]])


def call(seed: int) -> tuple[nn.Module, dict[str, Any]]:
    """A model and keyword inputs for it, in an order of their own, some of the optional ones left out."""
    made = random.Random(seed)
    names = made.sample(WORDS, made.randrange(2, 6))
    first = ["positional"] * made.randrange(1, len(names))
    rest = sorted(made.choices(("optional", "number", "keyword", "asked"), k=len(names) - len(first)),
                  key=("optional", "number", "keyword", "asked").index)  # fmt: skip
    parameters = list(zip(names, [*first, *rest], strict=True))
    needed = [name for name, kind in parameters if kind in ("positional", "keyword")]
    others = [name for name, kind in parameters if kind in ("optional", "asked") and made.random() < 0.5]
    chosen = [*needed, *others]
    made.shuffle(chosen)
    given = {name: torch.linspace(at, at + 1, 6).reshape(2, 3) for at, name in enumerate(chosen)}
    kind = type("Named", (Named,), {})
    return kind(parameters).eval(), given


def names_and_axes(how: str, made: random.Random, keys: list[str], dynamo: bool) -> tuple[dict[str, Any], list[str]]:
    """Arguments of an export, and the names that the inputs have then, in the order of ``keys``."""
    axes = {key: {0: "n"} for key in keys}
    if how == "axes":
        return {"dynamic_axes": axes}, keys
    if how == "names":
        return {"input_names": keys, "dynamic_axes": axes}, keys
    if how == "names in another order":
        return {"input_names": made.sample(keys, len(keys))}, keys
    if how == "other names":
        other = [f"in_{at}" for at, _ in enumerate(keys)]
        return {"input_names": other, "dynamic_axes": {name: [0] for name in other}}, other
    if how == "shapes" and dynamo:
        return {"dynamic_shapes": {key: {0: "n"} for key in made.sample(keys, len(keys))}}, keys
    return {}, keys


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_keywords(seed: int, exporter: Any, tmp_path: Path) -> None:
    for at, how in enumerate(("plain", "axes", "names", "names in another order", "other names", "shapes")):
        model, given = call(seed)
        made = random.Random(seed * 7 + at)
        options, names = names_and_axes(how, made, list(given), exporter == "dynamo")
        HierarchyExporter(exporter=exporter).export(model, given, tmp_path / "m.onnx", **options)
        session = onnxruntime.InferenceSession((tmp_path / "m.onnx").read_bytes())
        assert sorted(entry.name for entry in session.get_inputs()) == sorted(names), how
        for rows in (2, 5) if options.keys() & {"dynamic_axes", "dynamic_shapes"} else (2,):
            values = {key: torch.randn(rows, 3) for key in given}
            feed = {name: values[key].numpy() for key, name in zip(given, names, strict=True)}
            with torch.no_grad():
                wanted = model(**values).numpy()
            assert np.allclose(session.run(None, feed)[0], wanted, atol=1e-5), how


class Within(nn.Module):
    """A model inside another, under a name of the caller's."""

    def __init__(self, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, inner)

    def forward(self, *args: Any) -> Any:
        return getattr(self, self.name)(*args)


class Flips(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.flip(torch.softmax(x, 0), (1,))


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        product = self.fc(x)
        return product.relu() + y, product


class Chooses(nn.Module):
    """A branch in the graph, with values and weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.cond(x.sum() > 0, lambda x: self.fc(x).relu(), lambda x: x.tanh(), (x,))
        return result


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_clashes(seed: int, exporter: Any, tmp_path: Path) -> None:
    """Every name of the plain export, taken for an input or an output: a valid file, or an error that names both."""
    made = random.Random(seed)
    model: nn.Module = [Flips(), Both(), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), Chooses()][seed % 4]
    if exporter == "torchscript" and isinstance(model, Chooses):
        model = Flips()
    for name in made.sample(WORDS, made.randrange(3)):
        model = Within(name, model)
    example = tuple(torch.rand(2, 3) for _ in range(2 if seed % 4 == 1 else 1))
    HierarchyExporter(exporter=exporter).export(model.eval(), example, tmp_path / "plain.onnx")
    known = names_in(onnx.load(tmp_path / "plain.onnx").graph)
    outputs = len(onnx.load(tmp_path / "plain.onnx").graph.output)
    for taken in made.sample(known, min(len(known), 4 if seed else 2)):
        for options in (
            {"output_names": [taken, "other"][:outputs]},
            {"input_names": [taken, "other"][: len(example)]},
            {"input_names": ["one", taken][-len(example) :], "output_names": [taken, "last"][:outputs]},
        ):
            target = tmp_path / "m.onnx"
            try:
                HierarchyExporter(exporter=exporter).export(model, example, target, **options)
            except ConfigError as error:
                assert repr(taken) in str(error) and str(error).count("\n") == 0
                assert " would be the name of " in str(error) and " and of " in str(error)
                assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.onnx", "plain_hierarchy.json"]
                continue
            except ExportError as error:  # torch has no values whose name is a number
                assert taken.isdigit() and f"Invalid name: '{taken}'" in str(error)
                continue
            onnx.checker.check_model(onnx.load(target), full_check=True)
            session = onnxruntime.InferenceSession(str(target))
            fed = [entry.name for entry in session.get_inputs()]
            found = session.run(None, {name: each.numpy() for name, each in zip(fed, example, strict=True)})
            with torch.no_grad():
                wanted = model(*example)
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            assert all(np.allclose(one, other, atol=1e-5) for one, other in zip(found, wanted, strict=True))
            for path in (target, tmp_path / "m_hierarchy.json"):
                path.unlink()


def names_in(graph: onnx.GraphProto) -> list[str]:
    """Names of everything that a graph and its bodies define."""
    names = [each.name for each in (*graph.input, *graph.output, *graph.initializer)]
    for node in graph.node:
        names += node.output
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names += names_in(attribute.g)
    return list(dict.fromkeys(names))


_MODEL = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.{child} = torch.nn.Linear(4, 4)
    def forward(self, {parameters}):
        return self.{child}({first}) + {second}
def get_inputs():
    one, two = torch.linspace(0, 1, 8).reshape(2, 4), torch.ones(4)
    return {inputs}
"""
# forward's parameters, its two values, and the inputs
CALLS = [
    ("{a}", "{a}['{b}']", "{a}['{c}']", "({{'{b}': one, '{c}': two}},)"),
    ("{a}, {b}", "{a}", "{b}", "{{'{b}': two, '{a}': one}}"),
    ("{a}, {b}", "{a}", "{b}['{c}']", "(one, {{'{c}': two}})"),
    ("{a}, {b}", "{a}", "{b}", "(one, {{'{b}': two}})"),
    ("{a}, *, {b}=None", "{a}", "({b} if {b} is not None else 1)", "({{'{a}': one, '{b}': two}},)"),
    ("{a}", "{a}[0]['{b}']", "{a}[1]", "([{{'{b}': one}}, two],)"),
    ("{a}, {b}", "{a}", "{b}[0]", "(one, [two])"),
    ("{a}, **{b}", "{a}", "{b}['{c}']", "({{'{c}': two, '{a}': one}})"),
    ("{a}", "{a}['{b}']", "{a}['{c}']", "{{'{a}': {{'{b}': one, '{c}': two}}}}"),
]  # fmt: skip
QUICK = 3


@pytest.mark.parametrize(
    "at", [at if at == QUICK else pytest.param(at, marks=pytest.mark.slow) for at in range(len(CALLS))]
)
def test_commands_take_what_the_api_takes(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = random.Random(at)
    a, b, c, child = made.sample(WORDS[:8], 4)
    parameters, first, second, inputs = (text.format(a=a, b=b, c=c) for text in CALLS[at])
    text = textwrap.dedent(_MODEL).format(
        child=f"{child}_", parameters=parameters, first=first, second=second, inputs=inputs
    )
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(text)
    space: dict[str, Any] = {"__name__": "net"}
    exec(compile(text, str(tmp_path / "net.py"), "exec"), space)
    torch.manual_seed(0)
    example = space["get_inputs"]()
    HierarchyExporter().export(space["Net"]().eval(), example, "api.onnx")
    assert command.main(["export", "net.py", "cli.onnx"]) == 0
    assert command.main(["trace", "net.py", "-o", "net.htptrace"]) == 0
    kinds = [shape(onnx.load(name)) for name in ("api.onnx", "cli.onnx")]
    assert kinds[0] == kinds[1]
    if at == QUICK:  # a batch has a process for each model
        return
    Path("jobs.jsonl").write_text(json.dumps({"model": "net.py", "output": "batch.onnx"}))
    assert command.main(["batch", "jobs.jsonl"]) == 0
    assert shape(onnx.load("batch.onnx")) == kinds[0]


def shape(model: onnx.ModelProto) -> Mapping[str, Any]:
    graph = model.graph
    return {"inputs": [each.name for each in graph.input], "nodes": [(each.op_type, each.name) for each in graph.node]}
