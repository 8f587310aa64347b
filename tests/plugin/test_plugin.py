"""A third-party package of passes, installed for real and run by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from modelexport.ir.io.embedded_tags import pipeline_of
from modelexport.passes.testing.text import read_text

_PATH = os.environ.get("PYTHONPATH", "")  # where the package under test may be
SAMPLE = Path(__file__).parent / "sample_package"
MODEL = 'g (float[N] X) => (float[N] Y) { a = Relu (X) ["/head/Neg"] Y = Neg (a) }'


def install(source: Path, target: Path, **renamed: str) -> Path:
    """Install a copy of the package in which texts are replaced, into a folder for PYTHONPATH."""
    copy = target.parent / f"source-{target.name}"
    shutil.copytree(source, copy)
    for path in copy.iterdir():
        text = path.read_text()
        for old, new in renamed.items():
            text = text.replace(old.replace("_", "-"), new)
        path.write_text(text)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", target, copy], check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(SAMPLE, tmp_path_factory.mktemp("plugin") / "site")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(read_text(MODEL)[0].SerializeToString())
    return tmp_path


def htp_opt(folder: Path, *arguments: str, plugins: tuple[Path, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelexport.cli.htp_opt", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*map(str, plugins), _PATH]))},
        capture_output=True,
        text=True,
    )


def test_a_pass_of_a_plugin_runs_by_name(folder: Path, plugin: Path) -> None:
    done = htp_opt(
        folder, "model.onnx", "-o", "out.onnx", "--passes",
        "relu-attribution{path=act confidence=0.75},scope-attribution,fallback-tagging,attribute-embedding",
        plugins=(plugin,),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    relu = {p.key: p.value for p in onnx.load(folder / "out.onnx").graph.node[0].metadata_props}
    assert (relu["htp.path"], relu["htp.rule"], relu["htp.confidence"]) == ("act", "relu", "0.75")
    recorded = pipeline_of({p.key: p.value for p in onnx.load(folder / "out.onnx").metadata_props})
    assert recorded.startswith("relu-attribution{path=act confidence=0.75},scope-attribution")


def test_a_named_pipeline_of_a_plugin_runs_by_name(folder: Path, plugin: Path) -> None:
    done = htp_opt(folder, "model.onnx", "--passes", "relu-all", "--report", "json", plugins=(plugin,))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["by_source"] == {"scope": 1, "inherited": 1}


def test_a_plugin_is_listed_with_its_origin(folder: Path, plugin: Path) -> None:
    done = htp_opt(folder, "--list-passes", "--format", "json", plugins=(plugin,))
    listing = json.loads(done.stdout)
    (found,) = [each for each in listing["passes"] if each["name"] == "relu-attribution"]
    assert found["origin"] == "relu-passes 1.2"
    assert found["options"] == [
        {"name": "path", "type": "str", "default": "activations"},
        {"name": "confidence", "type": "float", "default": "0.5"},
    ]
    assert listing["pipelines"]["relu-all"].startswith("relu-attribution,")


def test_a_mistake_in_the_options_of_a_plugin_has_a_caret(folder: Path, plugin: Path) -> None:
    done = htp_opt(folder, "model.onnx", "--passes", "relu-attribution{confidence=2}", plugins=(plugin,))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: relu-attribution: confidence must be between 0 and 1",
        "  relu-attribution{confidence=2}",
        "                              ^",
    ]


def test_a_clash_is_an_error_that_names_both_owners(folder: Path, plugin: Path, tmp_path: Path) -> None:
    other = install(SAMPLE, tmp_path / "other", relu_passes="other-relu")
    shutil.move(other / "relu_passes.py", other / "elsewhere.py")
    for arguments in (["model.onnx"], ["--list-passes"]):
        done = htp_opt(folder, *arguments, plugins=(plugin, other))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "error: 'relu-all' is registered by both other-relu 1.2 and relu-passes 1.2: uninstall one of them\n"
        )


def test_a_clash_with_a_pass_of_ours_names_us(folder: Path, tmp_path: Path) -> None:
    thief = install(SAMPLE, tmp_path / "thief", relu_attribution="strip-tags")
    done = htp_opt(folder, "model.onnx", plugins=(thief,))
    assert done.returncode == 2
    assert done.stderr == (
        "error: 'strip-tags' is registered by both modelexport and relu-passes 1.2: uninstall one of them\n"
    )


def test_a_broken_plugin_disturbs_only_those_who_use_it(folder: Path, tmp_path: Path) -> None:
    broken = install(SAMPLE, tmp_path / "broken")
    (broken / "relu_passes.py").write_text("raise RuntimeError('made for another\\nrelease')\n")
    assert htp_opt(folder, "model.onnx", plugins=(broken,)).returncode == 0
    listed = htp_opt(folder, "--list-passes", plugins=(broken,))
    assert listed.returncode == 0 and "scope-attribution" in listed.stdout
    assert listed.stderr.count("warning: the pass 'relu-a") == 2
    used = htp_opt(folder, "model.onnx", "--passes", "relu-attribution", plugins=(broken,))
    assert used.returncode == 2
    assert used.stderr.splitlines()[0] == (
        "error: the pass 'relu-attribution' of relu-passes 1.2 can't be loaded: RuntimeError: made for another release"
    )
