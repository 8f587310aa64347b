"""The traps of mapping root folders to subpackages, one test each."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("analysis", "api", "cli", "frontend", "ir", "passes", "views")
CONFIG: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGE_DIR: dict[str, str] = CONFIG["tool"]["setuptools"]["package-dir"]


def source_folders() -> Iterator[Path]:
    for folder in FOLDERS:
        for current, names, files in os.walk(ROOT / folder):
            names[:] = [name for name in names if name != "__pycache__"]
            if any(file.endswith(".py") for file in files):
                yield Path(current)


def shipped_files() -> set[str]:
    """What a user must get, as paths below ``modelexport/``."""
    package_of = {folder: package for package, folder in PACKAGE_DIR.items()}
    found: set[str] = set()
    for folder in source_folders():
        package = package_of[folder.relative_to(ROOT).as_posix()].replace(".", "/")
        found |= {f"{package}/{file.name}" for file in folder.iterdir() if file.suffix in {".py", ".json", ".typed"}}
    return found


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of a copy of the sources, and the wheel made of that sdist."""
    work = tmp_path_factory.mktemp("build")
    copy = work / "sources"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", *FOLDERS):
        done = run("cp", "-R", ROOT / name, copy, cwd=work)
        assert done.returncode == 0, done.stderr
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", copy, cwd=work)
    assert done.returncode == 0, done.stdout + done.stderr
    return work / "dist"


def test_packages_are_the_folders() -> None:
    folders = {folder.relative_to(ROOT).as_posix() for folder in source_folders()}
    assert folders == set(PACKAGE_DIR.values())
    assert sorted(CONFIG["tool"]["setuptools"]["packages"]) == sorted(PACKAGE_DIR)


def test_every_folder_has_an_init() -> None:
    assert [folder for folder in source_folders() if not (folder / "__init__.py").is_file()] == []


def test_no_root_folder_shadows_the_package() -> None:
    assert not (ROOT / "modelexport").exists()


@pytest.mark.parametrize("package", sorted(PACKAGE_DIR))
def test_import_under_another_name_is_refused(package: str) -> None:
    folder = PACKAGE_DIR[package].replace("/", ".")
    done = run(sys.executable, "-c", f"import {folder}", cwd=ROOT, PYTHONPATH=str(ROOT))
    assert done.returncode != 0
    assert "import this package as modelexport" in done.stderr


def test_wheel_is_complete(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert shipped_files() - names == set()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"modelexport"}
    assert "modelexport/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_has_the_page_and_the_licence_in_it(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    page = [file for file in (ROOT / "views" / "page").rglob("*") if file.is_file()]
    assert {f"modelexport/{file.relative_to(ROOT).as_posix()}" for file in page} <= names
    kinds = {file.suffix for file in page}
    assert {".html", ".css", ".js", ".txt"} <= kinds


def test_wheel_makes_a_page(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import onnx, modelexport.core.views as views\n"
        "from modelexport.ir import Model\n"
        'page = views.view(Model(onnx.parser.parse_model(\'<ir_version: 8, opset_import: ["": 17]> '
        "g (float[1] x) => (float[1] y) { y = Relu (x) }'))).html()\n"
        "print(views.__file__, len(page))"
    )
    done = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    where, size = done.stdout.split()
    assert Path(where).is_relative_to(tmp_path / "site")
    assert 50_000 < int(size) < 150_000


def test_sdist_is_complete(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in source_folders():
        for file in folder.iterdir():
            if file.suffix in {".py", ".json", ".typed"}:
                assert file.relative_to(ROOT).as_posix() in names
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


def test_wheel_runs_from_a_clean_folder(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    target = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(target)
    code = (
        "import modelexport, modelexport.ir, modelexport.passes, modelexport.cli.htp_opt as cli\n"
        "print(modelexport.__file__, modelexport.ir.__file__, cli.__file__, sep='\\n')"
    )
    # PYTHONPATH comes before site-packages and before the finder of an editable install.
    done = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(target))
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(target) for line in done.stdout.splitlines())


def test_versions_are_pinned_without_a_local_build() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {line.partition("==")[0]: line.partition("==")[2] for line in lines}
    assert all(version and "+" not in version for version in pinned.values()), lines
    extras: dict[str, list[str]] = CONFIG["project"]["optional-dependencies"]
    for requirement in (*CONFIG["project"]["dependencies"], *(one for extra in extras.values() for one in extra)):
        name = requirement.split(">")[0].split("=")[0].split("[")[0].strip()
        assert name in pinned, f"{requirement} is not pinned in constraints.txt"
