"""The documentation says what the code says: pages of passes, links, commands of the README."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from modelexport.frontend.export import attributing
from modelexport.passes.evidence.inference.confidence import CHOSEN, MEASURED
from modelexport.passes.pipeline.registry import PASSES
from modelexport.passes.tools import carry

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")])
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_passes", ROOT / "docs" / "generate_passes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_of_passes_are_current(generator: ModuleType) -> None:
    texts: dict[Path, str] = generator.pages()
    stale = [path.name for path, text in texts.items() if not path.is_file() or path.read_text() != text]
    assert stale == [], "run `make docs`"


def test_every_pass_has_a_page_and_no_other_page_is_left() -> None:
    names = {path.stem for path in (ROOT / "docs" / "passes").glob("*.md")}
    assert names == {*PASSES, "README"}


def test_every_option_is_explained(generator: ModuleType) -> None:
    registry = generator.Registry(PASSES)
    silent = [
        f"{name}: {option.field}"
        for name in PASSES
        for option in generator.options_of(registry.find(name))
        if option.field not in generator.docstring(registry.find(name))[1]
    ]
    assert silent == [], "explain the field under Attributes in the docstring of the pass"


def test_handwritten_part_of_a_page_is_kept(generator: ModuleType) -> None:
    cls = generator.Registry(PASSES).find("coverage-validation")
    text = generator.page(cls, f"old\n{generator.END}\n\n## By hand\n")
    assert text.endswith(f"{generator.END}\n\n## By hand\n")
    assert "| `min-coverage` | `float` | `1.0` |" in text
    assert generator.page(cls, text) == text


def test_rules_of_the_pages_exist() -> None:
    documented: list[str] = []
    for page in (ROOT / "docs" / "passes").glob("*.md"):
        table = page.read_text().partition("\n## Rules\n")[2]
        documented += re.findall(r"`([a-z-]+)`(?=[^|]*\|[^|]*\|$)", table, re.MULTILINE)
    assert len(documented) > 40
    assert sorted(documented) == sorted(MEASURED.keys() | CHOSEN.keys())


def test_rules_with_a_number_are_in_the_code() -> None:
    """Literals, or a kind and an agreement put together (``twin-`` + ``same``, ``shape`` + ``-common``)."""
    words: set[str] = set()
    for folder in ("passes", "frontend"):
        for file in (ROOT / folder).rglob("*.py"):
            if file.name != "confidence.py":
                found = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
                words.update(value for value in found if isinstance(value, str))
    made = {f"{kind}-{end}" for kind in ("constant", "shape") for end in ("common", "consumers")}
    made |= {kind + end for kind in ("twin-", "other-", "event-") for end in words if kind in words}
    ends = ("", "-helper", "-order", "-weight")  # of a naming scheme's rules
    made |= {f"scheme-{name}{end}" for name in words for end in ends}
    assert sorted(rule for rule in MEASURED.keys() | CHOSEN.keys() if rule not in words | made) == []


def test_rules_of_carried_tags_and_their_numbers_are_on_the_page() -> None:
    text = (ROOT / "docs" / "optimise-and-quantise.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| ([0-9.]+)( chosen)? \|$", text, re.MULTILINE)
    shown = {rule: (float(number), bool(chosen)) for rule, number, chosen in rows}
    held = {
        rule: (carry.MEASURED.get(rule, number), rule not in carry.MEASURED) for rule, number in carry.CHOSEN.items()
    }
    assert shown == held and carry.MEASURED.keys() <= carry.CHOSEN.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def long_lines(text: str) -> list[str]:
    """Lines of prose wider than an editor; code, tables, and links and comments that can't be broken are left out."""
    found: list[str] = []
    code = False
    for line in text.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            code = not code
        if len(line) > 120 and not code and not line.lstrip().startswith(("|", "![", "<!--")) and line[:4].strip():
            found.append(line)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_prose_is_at_most_120_columns_wide(page: Path) -> None:
    assert long_lines(page.read_text()) == []


def test_a_wide_line_is_noticed() -> None:
    wide = "word " * 30
    assert long_lines(f"{wide}\n\n    {wide}\n\n```\n{wide}\n```\n\n| {wide} |\n- {wide}") == [wide, f"- {wide}"]


def test_decisions_are_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text()))
    names = {path.name for path in folder.glob("[0-9]*.md")}
    assert listed == names
    assert len({name[:4] for name in names}) == len(names), "a number stands for one decision"
    for name in names:
        assert (folder / name).read_text().startswith(f"# {name[:4]}: ")


def test_ci_runs_the_test_commands_of_the_readme() -> None:
    for command in ("make test ", "make test-slow "):
        assert f"    {command}" in (ROOT / "README.md").read_text()
        assert f"\n{command}" in (ROOT / ".ci" / "run").read_text()


def test_make_targets_of_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:`|^    )make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "bench"} <= named <= targets


def test_every_rule_has_a_case_of_its_name() -> None:
    """``test_rule_twin_near`` for ``twin-near``: one for each rule with a number, and none for a rule that is gone."""
    cases = {
        node.name.removeprefix("test_rule_").replace("_", "-")
        for folder in ("passes", "frontend")
        for file in (ROOT / "tests" / folder).rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_rule_")
    }
    exports = {value for name, value in vars(attributing).items() if name.endswith("_RULE")}  # without a number
    rules = MEASURED.keys() | CHOSEN.keys() | carry.CHOSEN.keys()
    assert (sorted(rules - cases), sorted(cases - rules - exports)) == ([], [])
