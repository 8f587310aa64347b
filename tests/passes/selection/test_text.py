"""The grammar of selectors: what parses, what it prints as, and where the caret of a mistake stands."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelexport.ir.errors import SelectorError
from modelexport.passes.selection import Selector
from modelexport.passes.selection.globs import glob, path_glob
from modelexport.passes.selection.text import TEXT_KEYS, Either, Every, Expression, Not, Term, parse

PATTERNS = st.text(max_size=12)


def terms() -> st.SearchStrategy[Expression]:
    keys = st.sampled_from([key for key in TEXT_KEYS if key != "role"])
    numbers = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: parse(f"depth<={number!r}"))
    plain = st.builds(Term, keys, st.just(":"), PATTERNS)
    return st.one_of(plain, numbers, st.just(Term("name", "~", 'a+(b) \\d"')), st.just(Term("role", ":", "compute")))


def lists(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[tuple[Expression, ...]]:
    return st.lists(parts, min_size=2, max_size=3).map(tuple)


EXPRESSIONS = st.recursive(
    terms(),
    lambda parts: st.one_of(st.builds(Not, parts), st.builds(Every, lists(parts)), st.builds(Either, lists(parts))),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS)
def test_what_prints_parses_back(expression: Expression) -> None:
    assert parse(str(expression)) == expression


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet='abc.*:~<=()" \\andort', max_size=30))
def test_any_text_is_a_selector_or_an_error_with_a_column(text: str) -> None:
    try:
        selector = Selector.parse(text)
    except SelectorError as error:
        assert error.column is not None and 0 <= error.column <= len(text)
    else:
        assert Selector.parse(str(selector)) == selector and hash(selector) == hash(Selector.parse(str(selector)))


def test_precedence_and_words() -> None:
    a, b, c = (Term("path", ":", name) for name in "abc")
    assert parse("a or b and not c") == Either((a, Every((b, Not(c)))))
    assert parse("(a or b)and(not(c))") == Every((Either((a, b)), Not(c)))
    assert parse("not not a") == Not(Not(a))
    assert parse('"or" or path:and') == Either((Term("path", ":", "or"), Term("path", ":", "and")))
    assert parse("Or") == Term("path", ":", "Or")
    assert str(parse("((a)) or (b or c)")) == "path:a or (path:b or path:c)"


def test_terms() -> None:
    assert parse("op:ai.onnx::*") == Term("op", ":", "ai.onnx::*")
    assert parse('class: "a \\"b\\" \\\\ \\d"') == Term("class", ":", 'a "b" \\ \\d')
    assert parse('path~"layer\\.\\d+$"') == Term("path", "~", "layer\\.\\d+$")
    assert parse("confidence < .50") == Term("confidence", "<", "0.5", 0.5)
    assert parse("depth=2") == parse("depth=2.0") == Term("depth", "=", "2", 2.0)
    assert parse("a.b:c") == Term("path", ":", "a.b:c")  # what has a dot is no key


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 0, "the selector is empty"),
        ("clas:X", 0, "unknown key 'clas': did you mean 'class'?"),
        ("a and zzz:X", 6, "unknown key 'zzz': known are path, at,"),
        ("a b", 2, "expected 'and', 'or' or the end"),
        ("a and", 5, "expected a term"),
        ("and", 0, "found the word 'and'"),
        ("(a or b", 0, "'(' is never closed"),
        ("a)", 1, "')' was never opened"),
        ("(a b)", 3, "expected 'and', 'or' or ')'"),
        ('op:"x', 3, "the string is never closed"),
        ("confidence", 0, "needs a number"),
        ("a or depth", 5, "needs a number"),
        ("depth:2", 0, "is a number: compare it"),
        ("depth<two", 6, "expected a number"),
        ("depth<1e999", 6, "expected a number"),
        ("op=MatMul", 0, "takes a pattern"),
        ("op:", 3, "expected a pattern after 'op:'"),
        ("op: and name:x", 4, "expected a pattern after 'op:'"),
        ("name~[", 5, "not a regular expression"),
        ("role:both", 5, "a role is compute or auxiliary"),
        ("(" * 101 + "a" + ")" * 101, 100, "nested more than 100 deep"),
        ("not " * 101 + "a", 400, "nested more than 100 deep"),
    ],
)
def test_mistakes_are_shown_where_they_are(text: str, column: int, message: str) -> None:
    with pytest.raises(SelectorError, match=re.escape(message)) as caught:
        Selector.parse(text)
    assert caught.value.column == column
    shown, caret = caught.value.caret().splitlines()
    assert caret.index("^") - 2 <= column and len(shown) < 210


def test_parsing_is_bounded_and_linear() -> None:
    Selector.parse("(" * 100 + "a" + ")" * 100)
    with pytest.raises(SelectorError, match="longer than 64 KB"):
        Selector.parse("a" * (64 * 1024 + 1))
    started = time.process_time()
    Selector.parse("a or " * 13_000 + "b")
    Selector.parse('"' + "\\" * 60_000 + 'x"')
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("Mat*", ["Mat", "MatMul"], ["aMat", "mat"]),
        ("*a*b", ["ab", "xaxbb"], ["ba", "abx"]),
        ("l[0-3]", ["l0", "l3"], ["l4", "l", "l00"]),
        ("[!a-c]", ["d", "-"], ["a", "b", "c", "dd", ""]),
        ("[]]", ["]"], ["["]),
        ("[*]", ["*"], ["a"]),
        ("[a", ["[a"], ["a"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("?", ["x"], ["", "xx"]),
        ("**", ["", "abc"], []),
        ("", [""], ["a"]),
    ],
)
def test_globs(pattern: str, matching: list[str], others: list[str]) -> None:
    assert all(map(glob(pattern), matching)) and not any(map(glob(pattern), others))


@pytest.mark.parametrize(
    ("pattern", "at", "inside", "neither"),
    [
        (".", [""], ["a", "a.b.c"], []),
        ("**", ["", "a", "a.b"], [], []),
        ("*", ["a"], ["a.b"], [""]),
        ("enc.layer.1", ["enc.layer.1"], ["enc.layer.1.x"], ["enc.layer.10", "enc.layer", "x.enc.layer.1"]),
        ("enc.*.1", ["enc.layer.1"], ["enc.layer.1.x"], ["enc.a.b.1", "enc.1"]),
        ("**.self", ["self", "a.self", "a.b.self"], ["self.x", "a.self.x"], ["a.selfx", ""]),
        ("a.**.z", ["a.z", "a.b.c.z"], ["a.z.q"], ["a", "b.a.z"]),
        ("l[0-3].?", ["l0.x"], ["l3.y.z"], ["l4.x", "l0"]),
    ],
)
def test_path_globs(pattern: str, at: list[str], inside: list[str], neither: list[str]) -> None:
    exact, within = path_glob(pattern, inside=False), path_glob(pattern, inside=True)
    assert all(map(exact, at)) and not any(map(exact, [*inside, *neither]))
    assert all(map(within, [*at, *inside])) and not any(map(within, neither))


def test_globs_do_not_explode() -> None:
    started = time.process_time()
    assert not glob("*a" * 40 + "b")("a" * 4000)
    assert not path_glob(".".join(["**", "a"] * 20) + ".b", inside=True)(".".join("a" * 400))
    assert time.process_time() - started < 2
