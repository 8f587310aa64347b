"""The table of changes that the tests must notice follows the code: every entry still says where it is made."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from mutants import ROOT, Mutant, mutants

TABLE = mutants()


@pytest.mark.parametrize("mutant", TABLE, ids=lambda mutant: mutant.name)
def test_an_entry_is_about_the_code_of_today(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    found = text.count(mutant.original)
    assert found == 1, f"bench/mutants.toml: the original text of {mutant.name} occurs {found} times in {mutant.file}"
    assert mutant.original != mutant.mutated
    ast.parse(text.replace(mutant.original, mutant.mutated))
    assert [file for file in mutant.files_of_tests if not (ROOT / file).exists()] == []
    assert mutant.tests and mutant.promise


def test_no_change_is_listed_twice() -> None:
    assert len({(each.file, each.original, each.mutated) for each in TABLE}) == len(TABLE)
