"""Every example of the documents is run, in the order in which a reader meets them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
import collector  # noqa: E402

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCKS = [block for document in DOCUMENTS for block in collector.blocks(document)]
SELF_CONTAINED = ("api.md", "cli.md")
Readers = dict[Path, tuple[collector.Reader, Path]]


def run(words: list[str]) -> int:
    """Run one of our commands in this process."""
    from modelexport.cli import htp_opt, modelexport

    return {"modelexport": modelexport.main, "htp-opt": htp_opt.main}[words[0]](words[1:])


def prepare(folder: Path) -> None:
    """Files that the other documents take for granted: a model, its source, its trace, and its optimised version."""
    import onnxruntime

    from modelexport import HierarchyExporter
    from modelexport.frontend.trace.value_trace import write_trace

    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.GELU()))
    inputs = torch.randn(2, 4)
    HierarchyExporter().export(model, inputs, folder / "model.onnx", opset_version=17)
    (folder / "model.py").write_text(
        "import torch\n\nmodel = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh())\n"
        "example_inputs = torch.randn(2, 4)\n"
    )
    (folder / "before.onnx").write_bytes((folder / "model.onnx").read_bytes())
    write_trace(model, inputs, folder / "model.htptrace", twins=())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        found: Readers = {}
        for document in DOCUMENTS:
            folder = tmp_path_factory.mktemp("reader")
            if document.name not in SELF_CONTAINED:
                prepare(folder)
            found[document] = collector.Reader(run), folder
        yield found


@pytest.mark.parametrize("block", BLOCKS, ids=[block.where for block in BLOCKS])
def test_example_runs(block: collector.Block, readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, folder = readers[block.document]
    monkeypatch.chdir(folder)
    reader.read(block, monkeypatch.setenv)


def test_documents_have_examples() -> None:
    languages = {(block.document.name, block.language) for block in BLOCKS}
    assert {("api.md", "python"), ("api.md", "bash"), ("api.md", "json"), ("cli.md", "bash")} <= languages


def test_every_command_and_configuration_key_is_documented() -> None:
    from modelexport.cli.modelexport import COMMANDS
    from modelexport.cli.schema import schema

    text = (ROOT / "docs" / "cli.md").read_text()
    assert [name for name in COMMANDS if f"modelexport {name}" not in text] == []
    assert [key for key in schema("config")["properties"] if f"| `{key}` |" not in text] == []


def test_documented_environment_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelexport.frontend.inputs.options import Environment, read_environment

    (block,) = [each for each in BLOCKS if each.language == "bash" and "export MODELEXPORT_" in each.code]
    collector.Reader(run).read(block, monkeypatch.setenv)
    assert read_environment() == Environment(auxiliary_debug=True, memory_limit_mb=2048, profiling=True)


def test_the_collector_notices_what_does_not_hold(tmp_path: Path) -> None:
    document = tmp_path / "wrong.md"
    document.write_text(
        "```python\ndef shown(model, inputs): ...\n```\n\n```bash\nmodelexport nothing\n```\n\n"
        "<!-- check: signature Exporter -->\n```python\nclass Exporter:\n    def __init__(\n        self,\n"
        "        mode: str = 'fast'\n    )\n```\n\n<!-- check: result -->\n```python\n{'total': int}\n```\n\n"
        "    htp-opt model.onnx    # placeholder-free\n    htp-opt FILE\n"
    )
    found = collector.blocks(document)
    assert [block.code.strip() for block in found if block.language == "bash"] == [
        "modelexport nothing",
        "htp-opt model.onnx    # placeholder-free",
    ]
    reader = collector.Reader(lambda words: 2)

    class Exporter:
        def __init__(self, mode: str = "slow") -> None: ...

    reader.names |= {"Exporter": Exporter, "result": {"total": "12"}}
    reader.read(found[0], lambda name, value: None)
    for block in found[1:]:
        with pytest.raises(AssertionError):
            reader.read(block, lambda name, value: None)
