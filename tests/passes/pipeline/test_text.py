"""The grammar of pipelines: what parses, what it prints as, and where the caret of a mistake stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelexport.ir import Model
from modelexport.ir.errors import ConfigError, PipelineError
from modelexport.passes import Fact, Pass, PassContext, PassResult, Pipeline
from modelexport.passes.pipeline.options import options_of
from modelexport.passes.pipeline.registry import PIPELINES, Registry


@dataclass(frozen=True)
class Idle(Pass):
    """Do nothing."""

    name: ClassVar[str] = "idle"

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        return PassResult()


@dataclass(frozen=True)
class Rich(Idle):
    """Have an option of every type."""

    name: ClassVar[str] = "rich"
    establishes: ClassVar[frozenset[Fact]] = frozenset({Fact.SCOPED})
    flag: bool = False
    max_hops: int = 8
    share: float = 0.5
    word: str = "x"
    maybe: int | None = 3
    maybe_word: str | None = None
    mode: Literal["copy", "none", "a b"] = "copy"
    names: tuple[str, ...] = ("one",)
    numbers: tuple[float, ...] = ()
    file: Path | None = None
    files: tuple[str, ...] = field(default=(), metadata={"path": True})

    def __post_init__(self) -> None:
        if self.max_hops < 0:
            raise ValueError("max-hops must not be negative")
        if self.share > 1:
            raise ConfigError("share is at most 1")


@dataclass(frozen=True)
class Needs(Idle):
    """Require a fact and an option."""

    name: ClassVar[str] = "needs"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.SCOPED})
    invalidates: ClassVar[frozenset[Fact]] = frozenset({Fact.SCOPED})
    count: int


REGISTRY = Registry(
    {"idle": Idle, "rich": Rich, "needs": Needs},
    {"both": "rich{max-hops=2},idle", "outer": "both,idle", "loop": "idle,loop", "none": "none"},
)


def parse(text: str) -> Pipeline:
    return Pipeline.parse(text, registry=REGISTRY)


def rich(options: str) -> Rich:
    (step,) = parse(f"rich{{{options}}}")
    assert isinstance(step, Rich)
    return step


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("idle", "idle"),
        (" idle ,\n idle ", "idle,idle"),
        ("idle{}", "idle"),
        ("idle { }", "idle"),
        ("rich { max_hops=3  flag=true } , idle", "rich{flag=true max-hops=3},idle"),
        ("rich{max-hops=8}", "rich"),
        ("rich{max-hops=1e3 share=1e-1}", "rich{max-hops=1000 share=0.1}"),
        ("rich{share=1}", "rich{share=1.0}"),
        ("rich{max-hops=+7}", "rich{max-hops=7}"),
        ("rich{word=a.b/c:d+e-f}", "rich{word=a.b/c:d+e-f}"),
        ('rich{word="plain"}', "rich{word=plain}"),
        ('rich{word="say \\"hi\\", \\\\"}', 'rich{word="say \\"hi\\", \\\\"}'),
        ("rich{word=5}", "rich{word=5}"),
        ("rich{maybe=none}", "rich{maybe=none}"),
        ('rich{maybe-word="none"}', 'rich{maybe-word="none"}'),
        ("rich{mode=none}", "rich{mode=none}"),
        ('rich{mode="a b"}', 'rich{mode="a b"}'),
        ("rich{names=a , b,c numbers=1,2.5}", "rich{names=a,b,c numbers=1.0,2.5}"),
        ("rich{names=none}", "rich{names=none}"),
        ('rich{names="none"}', 'rich{names="none"}'),
        ("rich{file=dir/model.onnx}", "rich{file=dir/model.onnx}"),
        ("none", "none"),
        ("none,idle", "idle"),
        ("both", "rich{max-hops=2},idle"),
        ("outer,needs{count=1}", "rich{max-hops=2},idle,idle,needs{count=1}"),
    ],
)
def test_canonical_text_parses_back(text: str, canonical: str) -> None:
    pipeline = parse(text)
    assert str(pipeline) == canonical
    assert parse(canonical) == pipeline


def test_the_type_of_the_field_decides() -> None:
    step = rich("word=true names=1,2 file=x maybe-word=none")
    assert (step.word, step.names, step.file, step.maybe_word) == ("true", ("1", "2"), Path("x"), None)
    assert rich("names=none").names == ()
    assert type(rich("share=1").share) is float
    assert type(rich("max-hops=1e2").max_hops) is int


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 0, "the pipeline is empty"),
        ("   ", 0, "the pipeline is empty"),
        ("idle,", 5, "expected a pass name, found the end"),
        (",idle", 0, "expected a pass name, found ','"),
        ("idle idle", 5, "expected ',' or the end"),
        ("idle}", 4, "expected ',' or the end"),
        ("rich{max-hops=1", 4, "'{' is never closed"),
        ("rich{max-hops}", 13, "expected '=' after 'max-hops'"),
        ("rich{max-hops = 1}", 13, "expected '='"),
        ("rich{max-hops= 1}", 14, "expected a value, found ' '"),
        ("rich{flag=true,max-hops=1}", 23, "options are separated by spaces"),
        ('rich{word="a"flag=true}', 13, "options are separated by spaces"),
        ('rich{word="a}', 10, "the string is never closed"),
        (r'rich{word="a\n"}', 12, "escapes"),
        ("rich{hops=1}", 5, "has no option 'hops'; it has: flag, max-hops, share, word"),
        ("idle{a=1}", 5, "it has none"),
        ("rich{max-hops=1 max_hops=2}", 16, "max-hops is given twice"),
        ("rich{max-hops=x}", 14, "max-hops expects int, not 'x'"),
        ("rich{max-hops=1.5}", 14, "expects int"),
        ("rich{max-hops=1_0}", 14, "expects int"),
        ('rich{max-hops="1"}', 14, 'expects int, not "1"'),
        ("rich{max-hops=1,2}", 14, "expects one int, not a list"),
        ("rich{max-hops=none}", 14, "expects int"),
        ("rich{share=nan}", 11, "expects float"),
        ("rich{flag=1}", 10, "expects bool"),
        ("rich{flag=True}", 10, "expects bool"),
        ("rich{mode=move}", 10, 'expects copy|none|"a b"'),
        ("rich{maybe=x}", 11, "expects int"),
        ("rich{numbers=1,x}", 13, "expects float"),
        ("rich{flag=true max-hops=-1}", 24, "max-hops must not be negative"),
        ("rich{flag=true share=2}", 21, "share is at most 1"),
        ("needs", 0, "needs needs count"),
        ("idle,rihc", 5, "unknown pass 'rihc': did you mean 'rich'"),
        ("Rich", 0, "did you mean 'rich'"),
        ("zzz", 0, "unknown pass 'zzz': known are idle, rich, needs, both, outer, loop, none"),
        ("idle,both{x=1}", 9, "both is a named pipeline and takes no options; it is: rich"),
        ("loop", 5, "contains itself"),
        ("idle;idle", 4, "expected ','"),
    ],
)
def test_a_mistake_has_a_column(text: str, column: int, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert caught.value.column == column
    assert "\n" not in str(caught.value)


def test_the_caret_stands_under_the_fault() -> None:
    with pytest.raises(PipelineError) as caught:
        parse("idle,\n\trihc")
    shown, caret = caught.value.caret().splitlines()
    assert shown == "  idle,  rihc"
    assert shown[caret.index("^") :] == "rihc"


def test_a_pass_that_requires_what_nobody_established_is_refused() -> None:
    with pytest.raises(PipelineError, match="needs requires scoped: no earlier pass establishes it") as caught:
        parse("idle,needs{count=1},rich").check()
    assert caught.value.column == 5
    parse("rich,needs{count=1}").check()
    parse("needs{count=1}").check(assume={Fact.SCOPED})


def test_an_undone_fact_names_who_undid_it() -> None:
    with pytest.raises(PipelineError, match="needs requires scoped: needs undoes it"):
        parse("rich,needs{count=1},needs{count=2}").check()


def test_elements_know_the_named_pipeline_they_are_from() -> None:
    pipeline = parse("idle,outer,idle")
    assert [element.named for element in pipeline.elements] == ["", "outer", "outer", "outer", ""]
    assert [element.column for element in pipeline.elements] == [0, 5, 5, 5, 11]
    assert [element.named for element in Pipeline((Idle(),)).elements] == [""]


def test_recorded_pipelines_name_files_by_base_name() -> None:
    pipeline = parse("rich{word=a/b file=/secret/dir/m.onnx files=x/y.json,z.json}")
    assert pipeline.recorded() == "rich{word=a/b file=m.onnx files=y.json,z.json}"
    assert "/secret/dir/m.onnx" in str(pipeline)
    assert Pipeline().recorded() == "none"


def test_pipelines_of_objects_print_and_compare() -> None:
    pipeline = Pipeline((Rich(max_hops=2), Idle()))
    assert pipeline == parse("both")
    assert str(Rich(flag=True)) == "rich{flag=true}"
    assert len(pipeline) == 2 and list(pipeline) == [Rich(max_hops=2), Idle()]


def test_options_say_their_types_and_defaults() -> None:
    shown = {option.key: (option.type_text, option.default_text) for option in options_of(Rich)}
    assert shown["max-hops"] == ("int", "8")
    assert shown["maybe-word"] == ("str|none", "none")
    assert shown["mode"] == ('copy|none|"a b"', "copy")
    assert shown["names"] == ("str,...", "one")
    assert shown["file"] == ("path|none", "none")
    assert {option.key: option.default_text for option in options_of(Needs)} == {"count": None}


def test_a_pass_that_is_no_frozen_dataclass_or_has_a_strange_option_is_refused() -> None:
    class Bare(Idle):
        name: ClassVar[str] = "bare"
        count: int = 1

    @dataclass(frozen=True)
    class Strange(Idle):
        name: ClassVar[str] = "strange"
        table: dict[str, int] | None = None

    with pytest.raises(TypeError, match="not a frozen dataclass"):
        options_of(Bare)
    with pytest.raises(TypeError, match=r"Strange\.table: .* can't be spelled"):
        options_of(Strange)


def test_our_named_pipelines_are_those_of_the_documentation() -> None:
    assert PIPELINES["htp"].split(",") == [
        "scope-attribution",
        "context-inheritance",
        "fallback-tagging",
        "coverage-validation",
        "attribute-embedding",
    ]
    assert PIPELINES["htp-retag"] == "reference-attribution," + PIPELINES["htp"]
    assert set(PIPELINES["htp-trace"].split(",")) == set(PIPELINES["htp-retag"].split(",")) | {
        "value-attribution",
        "parameter-attribution",
    }


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["none", "true", "1", '"', "\\"])
RICH = st.builds(
    Rich,
    flag=st.booleans(),
    max_hops=st.integers(0, 10**20),
    share=st.floats(max_value=1, allow_nan=False),
    word=TEXT,
    maybe=st.none() | st.integers(),
    maybe_word=st.none() | TEXT,
    mode=st.sampled_from(["copy", "none", "a b"]),
    names=st.lists(TEXT, max_size=3).map(tuple),
    numbers=st.lists(st.floats(allow_nan=False), max_size=3).map(tuple),
    file=st.none() | TEXT.filter(lambda text: "\0" not in text).map(Path),
    files=st.lists(TEXT, max_size=2).map(tuple),
)
STEPS = st.lists(RICH | st.just(Idle()) | st.builds(Needs, count=st.integers()), max_size=4)


@settings(deadline=None)
@given(STEPS)
def test_every_pipeline_prints_what_parses_back(steps: list[Pass]) -> None:
    pipeline = Pipeline(tuple(steps))
    assert parse(str(pipeline)) == pipeline
    assert str(parse(str(pipeline))) == str(pipeline)


@settings(deadline=None)
@given(st.text(st.sampled_from('rich{}=",\\ \tidle019-_.e+none') | st.characters(), max_size=40))
def test_any_text_parses_or_is_a_pipeline_error_with_a_column(text: str) -> None:
    try:
        pipeline = parse(text)
    except PipelineError as error:
        assert error.column is not None and 0 <= error.column <= len(text)
        assert len(error.caret().splitlines()) == 2
    else:
        assert parse(str(pipeline)) == pipeline
