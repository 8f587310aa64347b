"""Every example of the documents is run, in the order in which a reader meets them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
import collector  # noqa: E402

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCKS = [block for document in DOCUMENTS for block in collector.blocks(document)]


def run(words: list[str]) -> int:
    """Run one of our commands in this process."""
    from modelexport.cli import htp_opt, modelexport

    main = {"modelexport": modelexport.main, "htp-opt": htp_opt.main}[words[0]]
    try:
        return int(main(words[1:]) or 0)
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, tuple[collector.Reader, Path]]]:
    with pytest.MonkeyPatch.context() as patch:
        yield {
            document: (collector.Reader({"__name__": "example"}, run, patch.setenv), tmp_path_factory.mktemp("reader"))
            for document in DOCUMENTS
        }


@pytest.mark.parametrize("block", BLOCKS, ids=[block.where for block in BLOCKS])
def test_example_runs(
    block: collector.Block,
    readers: dict[Path, tuple[collector.Reader, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, folder = readers[block.document]
    monkeypatch.chdir(folder)
    reader.read(block)


def test_documents_have_examples() -> None:
    languages = {(block.document.name, block.language) for block in BLOCKS}
    assert {("api.md", "python"), ("api.md", "bash"), ("api.md", "json"), ("cli.md", "bash")} <= languages
