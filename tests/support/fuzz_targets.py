"""What is fuzzed: for each kind of file or text the commands that read it, and how its examples are made.

A target takes bytes. They are put into a file, or are themselves an argument, of every command of the target; a command
must end with status 0 or 1, or with status 2 and one line that says what is wrong. Nothing else is a result: no
traceback, no crashed pass, no half-written output.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import fuzz_examples as examples
from fuzz_mutations import damaged_document, json_bytes
from fuzz_running import INPUT, MODEL, TAGGED, Arguments, Crashed, judge
from hypothesis import strategies as st

from modelexport.ir.errors import ModelExportError


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        file: name of the file that the bytes are put into; "" where they are an argument.
        commands: each begins with the name of the program.
        examples: bytes, given the folder in which the models are.
        reader: a function of the library that takes the file, instead of commands.
    """

    file: str
    commands: tuple[Arguments, ...]
    examples: Callable[[Path], st.SearchStrategy[bytes]]
    reader: Callable[[Path], object] | None = None


def check(name: str, data: bytes, folder: Path, which: int | None = None) -> None:
    """Run the commands of a target on ``data``, or that of number ``which`` alone, in ``folder``."""
    target = TARGETS[name]
    before = set(os.listdir(folder))
    if target.file:
        (folder / target.file).write_bytes(data)
    if target.reader is not None:
        try:
            target.reader(folder / target.file)
        except OSError as error:
            assert not isinstance(error, ModelExportError) or "\n" not in str(error)
        except ModelExportError as error:
            if "\n" in str(error):
                raise Crashed(f"an error of several lines: {error}") from error
    text = "" if target.file else data.decode("utf-8", "surrogatepass").replace("\0", "")
    chosen = target.commands if which is None else target.commands[which : which + 1]
    for command in chosen:
        judge(tuple(word.replace(INPUT, target.file or text) for word in command))
    left = [one for one in os.listdir(folder) if one.endswith(".tmp")]
    if left:
        raise Crashed(f"left behind: {left}")
    for one in set(os.listdir(folder)) - before:
        path = folder / one
        if path.is_file():
            path.unlink()


def _config(path: Path) -> object:
    """What export does with a configuration before it has a model, and with specifications of its inputs."""
    from modelexport.cli.config import load_config

    config = load_config(path)
    if find_spec("torch") is not None:
        from modelexport.frontend.inputs.example_inputs import from_specs
        from modelexport.frontend.inputs.options import read_options

        from_specs(config.pop("input_specs", {}))
        torch_knows = ("opset_version", "input_names", "output_names", "dynamic_axes", "do_constant_folding")
        read_options(config.get("exporter", "auto"), {key: config[key] for key in torch_knows if key in config})
    return config


def _manifest(path: Path) -> object:
    from modelexport.cli.batching.manifest import read_manifest

    return [entry.fingerprint() for entry in read_manifest(path)]


def _results(path: Path) -> object:
    from modelexport.cli.batching.totals import totals
    from modelexport.cli.commands.make.batch import _read_results

    return totals(_read_results(path).values())


READING: tuple[Arguments, ...] = (
    ("htp-opt", INPUT, "-o", "out.onnx", "--sidecar"),
    ("htp-opt", INPUT, "--passes", "parameter-attribution,htp", "--explain", "scope-attribution", "--emit", "text"),
    (
        "htp-opt",
        INPUT,
        "-o",
        "out.onnx",
        "--passes",
        "node-naming{keep-scoped=false values=true},htp,constant-folding,constant-deduplication,strip-tags",
    ),
    ("htp-opt", INPUT, "-o", "out.onnx", "--external-data", "embed", "--allow-outside-data", "--report", "json"),
    ("htp-opt", INPUT, "--passes", "htp,layer-annotation{depth=1},drop-value-info,extract-module{paths=encoder}"),
    ("modelexport", "analyze", INPUT, "--format", "json"),
    ("modelexport", "analyze", INPUT, "--select", "path:encoder", "--depth", "2"),
    ("modelexport", "validate", INPUT, "--check-consistency"),
    ("modelexport", "compare", INPUT, TAGGED),
    ("modelexport", "diff", INPUT, TAGGED, "--format", "json"),
    ("modelexport", "diff", TAGGED, INPUT, "--atol", "1e-3"),
    ("modelexport", "select", INPUT, "path:encoder or op:Relu", "--format", "json"),
    ("modelexport", "select", INPUT, "op:*", "--format", "nncf", "--allow-empty"),
    ("modelexport", "cost", INPUT, "--no-run", "--format", "json", "--by", "node"),
    ("modelexport", "view", INPUT, "-o", "out.html"),
    ("modelexport", "view", INPUT, "--format", "mermaid"),
    ("modelexport", "view", INPUT, "-o", "out.graphml"),
    ("modelexport", "view", INPUT, "-o", "out.json"),
    ("modelexport", "retag", TAGGED, INPUT, "-o", "out.onnx"),
    ("modelexport", "retag", INPUT, MODEL, "-o", "out.onnx"),
    ("modelexport", "extract", INPUT, "encoder", "-o", "out.onnx"),
    ("modelexport", "split", INPUT, "--at", "head", "-o", "out"),
    ("modelexport", "validate", INPUT, "--repair"),
)

TARGETS: dict[str, Target] = {
    "model": Target("fuzzed.onnx", READING, examples.models),
    "tables": Target("fuzzed.onnx", READING[:2] + READING[5:8], examples.tables),
    "pipeline": Target(
        "",
        (("htp-opt", MODEL, "--passes", INPUT), ("htp-opt", TAGGED, "-o", "out.onnx", "--passes", INPUT)),
        examples.texts(*examples.PIPELINES),
    ),
    "selector": Target(
        "",
        (
            ("modelexport", "select", TAGGED, INPUT),
            ("modelexport", "analyze", TAGGED, "--select", INPUT),
            ("modelexport", "view", TAGGED, "--select", INPUT),
            ("modelexport", "analyze", TAGGED, "--filter-tag", INPUT),
        ),
        examples.texts(*examples.SELECTORS),
    ),
    "map": Target(
        "",
        (("modelexport", "diff", TAGGED, MODEL, "--map", INPUT),),
        examples.texts("encoder=head", ".=model", "a.b=a"),
    ),
    "path": Target(
        "",
        (
            ("modelexport", "extract", TAGGED, INPUT, "-o", "out.onnx"),
            ("modelexport", "split", TAGGED, "--at", INPUT, "-o", "out"),
        ),
        examples.texts("encoder", ".", "head"),
    ),
    "shape": Target(
        "",
        (("modelexport", "cost", TAGGED, "--no-run", "--input-shape", INPUT),),
        examples.texts("x:2,4", "flag:", "x:1"),
    ),
    "sidecar": Target(
        "tagged_hierarchy.json",
        (
            ("htp-opt", MODEL, "-o", "out.onnx", "--reference", INPUT),
            ("modelexport", "validate", TAGGED, "--check-consistency"),
            ("modelexport", "analyze", TAGGED, "--format", "json"),
            ("modelexport", "compare", TAGGED, MODEL),
            ("modelexport", "validate", TAGGED, "--repair-from", "sidecar"),
        ),
        examples.sidecars,
    ),
    "trace": Target("fuzzed.htptrace", (("htp-opt", MODEL, "-o", "out.onnx", "--trace", INPUT),), examples.traces),
    "profile": Target(
        "fuzzed.json",
        (
            ("modelexport", "profile", TAGGED, "--profile", INPUT, "--optimization", "disable", "--format", "json"),
            ("modelexport", "profile", TAGGED, "--profile", INPUT, "--layer-info", INPUT, "--by", "node"),
            (
                "modelexport",
                "profile",
                TAGGED,
                "--profile",
                INPUT,
                "--optimization",
                "disable",
                "--speedscope",
                "flame.json",
                "--chrome-trace",
                "chrome.json",
                "--by",
                "op",
            ),
        ),
        examples.profiles,
    ),
    "overlay": Target(
        "fuzzed.json",
        (
            ("modelexport", "view", TAGGED, "--overlay", INPUT),
            ("modelexport", "view", TAGGED, "--overlay", INPUT, "-o", "out.html"),
            ("modelexport", "view", TAGGED, "--overlay", INPUT, "--format", "model-explorer", "-o", "explorer.json"),
        ),
        examples.overlays,
    ),
    "config": Target("fuzzed.json", (), examples.documents(examples.CONFIG), _config),
    "config-toml": Target("fuzzed.toml", (), examples.texts(examples.TOML), _config),
    "manifest": Target(
        "fuzzed.jsonl",
        (),
        lambda folder: damaged_document([[examples.MANIFEST, examples.MANIFEST]]).map(
            lambda rows: b"\n".join(json_bytes(row) for row in rows) if isinstance(rows, list) else json_bytes(rows)
        ),
        _manifest,
    ),
    "manifest-toml": Target(
        "fuzzed.toml", (), examples.texts("[[models]]\n" + examples.toml(examples.MANIFEST) + "\n"), _manifest
    ),
    "results": Target("manifest.jsonl.results.jsonl", (), examples.results, _results),
    "arrays": Target(
        "fuzzed.npz",
        (
            ("modelexport", "cost", TAGGED, "--inputs", INPUT),
            ("modelexport", "compare-values", TAGGED, MODEL, "--inputs", INPUT),
        ),
        examples.arrays,
    ),
}


def number_of_commands(name: str) -> int:
    return len(TARGETS[name].commands)


def kept(folder: Path) -> Sequence[tuple[str, Path]]:
    """What was found before: the target and the file, in order."""
    return [(path.parent.name, path) for path in sorted(folder.glob("*/*")) if path.is_file()]
