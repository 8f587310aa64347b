"""Rules about the text of the repository that no linter knows."""

from __future__ import annotations

import ast
import os
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE_FOLDERS = ("analysis", "api", "cli", "frontend", "ir", "passes", "views")
TEXT_FOLDERS = (*SOURCE_FOLDERS, "tests", "docs", "bench", ".ci")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".json", ".sh", ".onnxtxt", ".cfg", ""}
MAX_LINES = 400
MAX_FILES = 15

# Names of architectures and of the parts they are made of. A tag may hold them; code that looks for them is a guess.
ARCHITECTURE_WORDS = frozenset(
    word
    for line in (
        "albert bart bert clipmodel convnext deberta deit detr distilbert efficientnet gemma gpt gpt2 llama mamba",
        "mistral mixtral mobilenet mobilenetv2 opus phi3 qwen qwen2 qwen3 resnet roberta segformer swin t5 unet vgg",
        "vit wav2vec wav2vec2 whisper yolo",
        "transformer attention attn ffn mlp encoder decoder layer layers layernorm lm",
    )
    for word in line.split()
)
PLAIN_WORDS = frozenset({"encoder", "decoder", "layer", "layers"})  # telling in a literal, not in an identifier
# A metadata key of onnxruntime's, the pass that writes it, an option of TensorRT's, and an operator of ONNX.
GIVEN_NAMES = re.compile(r"layer_ann$|^--layerPrecisions=$|layer[-_]annotation(:LayerAnnotation)?$|^LabelEncoder$")
EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u26ff\u2705\u2728\u274c\u274e\u2753-\u2755\u2757\u2795-\u2797\u2b50\u2b55\ufe0f]"
)
MACHINE = re.compile(r"(?<![\w./~$}])/(?:work|home|root|opt|Users|mnt)/\w")
REGISTRY = re.compile(r"pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|anaconda[.]org", re.IGNORECASE)


def text_files() -> Iterator[Path]:
    yield from (file for file in ROOT.iterdir() if file.is_file() and file.suffix in {".md", ".toml", ".txt"})
    yield ROOT / "Makefile"
    for folder in TEXT_FOLDERS:
        for current, names, files in os.walk(ROOT / folder):
            names[:] = [name for name in names if not name.startswith((".", "__pycache__")) and "egg-info" not in name]
            yield from (Path(current, file) for file in files if Path(file).suffix in TEXT_SUFFIXES)


FILES = sorted(set(text_files()))
PYTHON = [file for file in FILES if file.suffix == ".py"]


def label(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def words(text: str) -> set[str]:
    """Lower-case words of identifiers and literals: ``BertLayer_0`` has bert, layer and 0."""
    return set(re.findall(r"[a-z]+\d*", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).lower()))


def known_words(file: Path, name: str = "") -> Iterator[str]:
    """Where a file has a word of an architecture in an identifier or a string literal, docstrings left out."""
    tree = ast.parse(file.read_text())
    docstrings: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text, suspicious = GIVEN_NAMES.sub("", node.value), ARCHITECTURE_WORDS
        elif isinstance(node, ast.Name):
            text, suspicious = node.id, ARCHITECTURE_WORDS - PLAIN_WORDS
        elif isinstance(node, ast.Attribute):
            text, suspicious = node.attr, ARCHITECTURE_WORDS - PLAIN_WORDS
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            text, suspicious = node.name, ARCHITECTURE_WORDS - PLAIN_WORDS
        else:
            continue
        if known := words(text) & suspicious:
            yield f"{name or label(file)}:{node.lineno} {sorted(known)} in {text!r}"


def test_files_are_short() -> None:
    lengths = {label(file): len(file.read_text().splitlines()) for file in PYTHON}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}
    sources = [lines for name, lines in lengths.items() if name.split("/")[0] in SOURCE_FOLDERS]
    assert statistics.median(sources) <= 200


def test_folders_are_small() -> None:
    """A folder that one can't take in at a glance is two rooms."""
    count = Counter(label(file.parent) for file in PYTHON if label(file).split("/")[0] in SOURCE_FOLDERS)
    assert len(count) > 20
    large = {folder: number for folder, number in count.items() if number > MAX_FILES}
    assert large == {}


def test_tests_mirror_the_folders() -> None:
    """Tests of ``passes/pipeline/text.py`` are in ``tests/passes/pipeline``: one knows where to look."""
    folders = {label(file.parent).removeprefix("tests/") for file in PYTHON if label(file).startswith("tests/")}
    rooms = {folder for folder in folders if folder.split("/")[0] in SOURCE_FOLDERS}
    assert len(rooms) > 10
    assert {folder for folder in rooms if not (ROOT / folder).is_dir()} == set()


def test_words_are_found_in_identifiers_and_literals() -> None:
    assert words("encoder.layer.0/BertLayer_1") >= {"encoder", "layer", "bert"}
    assert words("Relu htp-opt scope-attribution") & ARCHITECTURE_WORDS == set()


@pytest.mark.parametrize("folder", ["ir", "passes"])
def test_no_architecture_is_known_by_name(folder: str) -> None:
    files = [file for file in PYTHON if label(file).startswith(f"{folder}/")]
    assert files
    assert [found for file in files for found in known_words(file)] == []


def test_an_architecture_in_the_code_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "x.py"
    source.write_text('"""attention in a docstring"""\njson.encoder\nif "attention" in name: pass\nBertLayer = 1\n')
    found = set(known_words(source, "x"))
    assert found == {"x:3 ['attention'] in 'attention'", "x:4 ['bert'] in 'BertLayer'"}


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{label(file)}:{number}: {line.strip()}"
        for file in FILES
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line) and file != Path(__file__).resolve()
    ]


def test_no_emoji() -> None:
    assert lines_with(EMOJI) == []
    assert EMOJI.search("done \u2705")


def test_no_paths_of_a_machine() -> None:
    assert lines_with(MACHINE) == []
    assert MACHINE.search("see /home/" + "me/x")


def test_no_registry_hosts() -> None:
    assert lines_with(REGISTRY) == []
    assert REGISTRY.search("https://PyPI.org/simple")


def test_no_unfinished_code() -> None:
    left = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XXX)\b|raise NotImplemented" + r"Error")
    assert lines_with(left) == []
