"""Links lead to a heading that is there, and no index names a thing twice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md"), *ROOT.glob(".github/**/*.md")]
LINK = re.compile(r"\]\(([^)\s]*)#([^)\s]+)\)")


def prose(page: Path) -> str:
    """The page without its examples."""
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link into the page may name: its headings as the site and code hosts spell them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", "").replace("*", "")).strip().lower()
        name = plain = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = 0
        while name in found:
            count += 1
            name = f"{plain}-{count}"
        found.add(name)
    return found


def broken(page: Path) -> list[str]:
    links = [(place, anchor) for place, anchor in LINK.findall(prose(page)) if "://" not in place]
    targets = [((page.parent / place).resolve() if place else page, anchor) for place, anchor in links]
    return [f"{target.name}#{anchor}" for target, anchor in targets if anchor not in anchors(target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_headings(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_line_of_an_index_stands_twice(page: Path) -> None:
    lines = [" ".join(line.split()) for line in prose(page).splitlines() if re.match(r"(\| |- )\[", line)]
    assert sorted(lines) == sorted(set(lines))


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# The `one`\n## Two, three\n[a](#the-one) [b](page.md#two-three) [c](#four)\n")
    assert broken(page) == ["page.md#four"]
