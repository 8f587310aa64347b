"""Running passes: the order, the instruments around them, and every way a pass can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from modelexport.ir import Attribution, Model, Source
from modelexport.ir.errors import (
    ConfigError,
    CoverageValidationError,
    InputError,
    MemoryLimitExceeded,
    PipelineError,
)
from modelexport.ir.limits import check_memory, memory_limit_mb
from modelexport.passes import Fact, Pass, PassContext, PassError, PassManager, PassResult, Pipeline
from modelexport.passes.pipeline.instruments import IrPrinter, Progress, Timing
from modelexport.passes.pipeline.run import Instrument, PassRun
from modelexport.passes.pipeline.text import Element
from modelexport.passes.testing import make_model

Action = Callable[[Model, PassContext], PassResult]


def nothing(model: Model, ctx: PassContext) -> PassResult:
    return PassResult()


@dataclass(frozen=True)
class Call(Pass):
    """Call a function."""

    name: ClassVar[str] = "call"
    action: Action = field(init=False, default=nothing)

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        return self.action(model, ctx)


def step(action: Action, name: str = "call", **declared: object) -> Pass:
    """A pass of this name and these declarations that does ``action``."""
    cls: type[Call] = dataclass(frozen=True)(type("Named", (Call,), {"name": name, **declared}))
    made = cls()
    object.__setattr__(made, "action", action)
    return made


def attribute(path: str) -> Action:
    def action(model: Model, ctx: PassContext) -> PassResult:
        for node in model.nodes():
            node.attribute_to(Attribution(path, Source.FALLBACK, "test", 0.5, (), "call"))
        return PassResult(changed=2)

    return action


def fail(error: BaseException) -> Action:
    def action(model: Model, ctx: PassContext) -> PassResult:
        for node in model.nodes():
            if node.op_type == "Exp":
                raise error
        return PassResult()

    return action


@pytest.fixture
def model() -> Model:
    return make_model("g (float[N] X) => (float[N] Y) { [one] a = Relu (X) [two] Y = Exp (a) }")


class Recorder(Instrument):
    """Notes every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, model: Model, pipeline: Pipeline) -> None:
        self.calls.append(f"start {len(pipeline)}")

    def before(self, model: Model, run: PassRun) -> None:
        self.calls.append(f"before {run.index} {run.name}")

    def after(self, model: Model, run: PassRun) -> None:
        self.calls.append(f"after {run.name} {run.result.changed}")

    def failed(self, model: Model, run: PassRun, error: BaseException) -> None:
        self.calls.append(f"failed {run.name} {type(error).__name__}")


def test_passes_run_in_order_between_the_calls_of_instruments(model: Model) -> None:
    recorder = Recorder()
    report = PassManager([step(nothing, "a"), step(attribute("m"), "b")], [recorder]).run(model)
    assert recorder.calls == ["start 2", "before 0 a", "after a 0", "before 1 b", "after b 2"]
    assert [(run.name, run.result.changed) for run in report.runs] == [("a", 0), ("b", 2)]
    assert report.pipeline == "a,b" and report.changed == 2 and not report.structure_changed
    assert all(run.seconds >= 0 and run.rss_mb is None for run in report.runs)


def test_three_lines_of_python_run_a_pipeline(model: Model) -> None:
    PassManager(Pipeline.parse("fallback-tagging")).run(model)
    assert all(node.attribution is not None for node in model.nodes())


def test_a_pass_sees_the_pipeline_and_its_warnings_reach_the_model(model: Model) -> None:
    seen: list[str] = []

    def action(model: Model, ctx: PassContext) -> PassResult:
        seen.append(ctx.pipeline)
        ctx.warnings.append("careful")
        return PassResult()

    given = PassContext()
    report = PassManager([step(action)], context=given).run(model)
    assert seen == ["call"]
    assert report.warnings == model.warnings == ["careful"]
    assert given.pipeline == "" and given.warnings == []


def test_a_pass_knows_whether_it_came_from_a_named_pipeline(model: Model) -> None:
    seen: list[bool] = []

    def action(model: Model, ctx: PassContext) -> PassResult:
        seen.append(ctx.optional)
        return PassResult(skipped="no file was given" if ctx.optional else "")

    passes = (step(action), step(action))
    pipeline = Pipeline(passes, (Element(passes[0], "named"), Element(passes[1])))
    report = PassManager(pipeline).run(model)
    assert seen == [True, False]
    assert [run.result.skipped for run in report.runs] == ["no file was given", ""]


def test_the_order_is_checked_before_any_work() -> None:
    with pytest.raises(PipelineError, match="late requires scoped"):
        PassManager([step(nothing, "late", requires=frozenset({Fact.SCOPED}))])


def test_a_crash_names_the_pass_those_before_it_and_the_node(model: Model) -> None:
    recorder = Recorder()
    with pytest.raises(PassError) as caught:
        PassManager([step(nothing, "a"), step(fail(ZeroDivisionError("oh\nno")), "b")], [recorder]).run(model)
    error = caught.value
    assert str(error) == "the pass b crashed at main: node 1 (two) (after a): ZeroDivisionError: oh no"
    assert (error.pass_name, error.done, error.node, error.exit_code) == ("b", ("a",), "main: node 1 (two)", 3)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert recorder.calls[-1] == "failed b PassError"


def test_an_edit_that_the_ir_refuses_is_a_crash_of_the_pass(model: Model) -> None:
    def remove(model: Model, ctx: PassContext) -> PassResult:
        model.main.remove(model.main.nodes[0])
        return PassResult(changed=1, structure_changed=True)

    with pytest.raises(PassError, match=r"the pass call crashed at main: node 0 .*GraphError: ") as caught:
        PassManager([step(remove, metadata_only=False)]).run(model)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "error", [CoverageValidationError("too low"), InputError("unreadable"), ConfigError("bad"), KeyboardInterrupt()]
)
def test_errors_raised_on_purpose_pass_through(model: Model, error: BaseException) -> None:
    recorder = Recorder()
    with pytest.raises(type(error)) as caught:
        PassManager([step(fail(error))], [recorder]).run(model)
    assert caught.value is error
    assert recorder.calls[-1] == f"failed call {type(error).__name__}"


def test_keep_going_records_a_failed_coverage_and_goes_on(model: Model) -> None:
    finding = CoverageValidationError("too low")
    report = PassManager([step(fail(finding)), step(attribute("m"))], keep_going=True).run(model)
    assert report.findings == [finding]
    assert [run.result.changed for run in report.runs] == [0, 2]


def test_a_pass_that_returns_no_result_is_named(model: Model) -> None:
    with pytest.raises(PassError, match=r"the pass call crashed: TypeError: run\(\) returned NoneType"):
        PassManager([step(lambda model, ctx: None)]).run(model)  # type: ignore[arg-type, return-value]


def test_a_fact_that_a_pass_claims_is_checked(model: Model) -> None:
    liar = step(nothing, "liar", establishes=frozenset({Fact.TAGGED}))
    with pytest.raises(PassError, match=r"the pass liar says it establishes tagged: main: node 0 \(one\): has no"):
        PassManager([liar]).run(model)
    PassManager([liar], verify_each=False).run(model)


def test_a_fact_that_a_later_pass_breaks_is_its_fault(model: Model) -> None:
    honest = step(attribute("m"), "honest", establishes=frozenset({Fact.TAGGED}))

    def untag(model: Model, ctx: PassContext) -> PassResult:
        model.main.nodes[1]._attribution = None
        return PassResult(changed=1)

    with pytest.raises(PassError, match="the pass vandal broke tagged, which honest established") as caught:
        PassManager([honest, step(untag, "vandal")]).run(model)
    assert caught.value.done == ("honest",)
    declared = step(untag, "vandal", invalidates=frozenset({Fact.TAGGED}))
    assert len(PassManager([honest, declared]).run(model).runs) == 2


def test_an_edit_that_was_not_declared_is_found(model: Model) -> None:
    def insert(model: Model, ctx: PassContext) -> PassResult:
        model.main.insert("Identity", ["X"], [f"extra{len(model.main)}"])
        return PassResult(changed=1)

    with pytest.raises(PassError, match="the pass call edited the structure, though it is declared metadata_only"):
        PassManager([step(insert)]).run(model)
    with pytest.raises(PassError, match="the pass call edited the structure, though it says it did not"):
        PassManager([step(insert, metadata_only=False)]).run(model)


def test_the_ir_is_verified_after_an_edit(model: Model) -> None:
    def corrupt(model: Model, ctx: PassContext) -> PassResult:
        model.main.nodes[1].inputs = ("nowhere",)
        return PassResult(changed=1, structure_changed=True)

    with pytest.raises(PassError, match=r"the pass call left the graph inconsistent: .*nowhere") as caught:
        PassManager([step(corrupt, metadata_only=False)]).run(model)
    assert caught.value.exit_code == 3


def test_an_honest_edit_is_verified_and_passes(model: Model) -> None:
    def insert(model: Model, ctx: PassContext) -> PassResult:
        graph = model.main
        graph.insert("Identity", ["a"], ["a2"], inherit=[graph.nodes[0]])
        graph.rewire(next(node for node in graph.nodes if node.op_type == "Exp"), 0, "a2")
        return PassResult(changed=2, structure_changed=True)

    tag = step(attribute("m"), "tag", establishes=frozenset({Fact.TAGGED}))
    report = PassManager([tag, step(insert, "insert", metadata_only=False)]).run(model)
    assert report.structure_changed
    assert [(node.op_type, node.attribution is not None) for node in model.main.nodes] == [
        ("Relu", True),
        ("Identity", True),
        ("Exp", True),
    ]

    def forget(model: Model, ctx: PassContext) -> PassResult:
        model.main.insert("Identity", ["X"], ["loose"])
        return PassResult(changed=0, structure_changed=True)

    with pytest.raises(PassError, match="the pass forget broke tagged, which tag established"):
        PassManager([tag, step(forget, "forget", metadata_only=False)]).run(model)


def test_timing_notes_memory(model: Model) -> None:
    (run,) = PassManager([step(nothing)], [Timing()]).run(model).runs
    assert run.rss_mb is not None and run.peak_mb is not None and 1 < run.rss_mb <= run.peak_mb


def test_progress_says_what_each_pass_did(model: Model) -> None:
    said: list[str] = []
    skips = step(lambda model, ctx: PassResult(skipped="no file"), "skips")
    with pytest.raises(PassError):
        PassManager([step(attribute("m"), "a"), skips, step(fail(ValueError()), "b")], [Progress(said.append)]).run(
            model
        )
    lines = "".join(said).splitlines()
    assert lines[0].startswith("[1/3] a changed 2 nodes in ")
    assert lines[1:] == ["[2/3] skips skipped: no file", "[3/3] b failed"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"before": ["b"]}, ["before b"]),
        ({"after": ["all"]}, ["after a", "after b"]),
        ({"on_change": True}, ["after b"]),
        ({"on_failure": True}, ["at the failure of c"]),
    ],
)
def test_ir_printing(
    model: Model, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], expected: list[str]
) -> None:
    said: list[str] = []
    printer = IrPrinter(said.append, **options)  # type: ignore[arg-type]
    passes = [step(nothing, "a"), step(attribute("mod"), "b"), step(fail(ValueError()), "c")]
    with pytest.raises(PassError):
        PassManager(passes, [printer]).run(model)
    assert [text.splitlines()[0].removeprefix("// IR ") for text in said] == expected
    assert all("Relu" in text for text in said)


def test_the_memory_limit_comes_from_the_environment(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELEXPORT_MEMORY_LIMIT_MB", raising=False)
    assert memory_limit_mb() is None
    check_memory(None, "never")
    monkeypatch.setenv("MODELEXPORT_MEMORY_LIMIT_MB", "1")
    assert memory_limit_mb() == 1
    with pytest.raises(MemoryLimitExceeded, match=r"before call: .* MODELEXPORT_MEMORY_LIMIT_MB allows 1"):
        PassManager([step(nothing)], context=PassContext(memory_limit_mb=memory_limit_mb())).run(model)
    for bad in ("many", "-1", "0", "1.5"):
        monkeypatch.setenv("MODELEXPORT_MEMORY_LIMIT_MB", bad)
        with pytest.raises(ConfigError, match="MODELEXPORT_MEMORY_LIMIT_MB"):
            memory_limit_mb()
