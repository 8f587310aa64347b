"""Do the tests notice? Changes one place of the code at a time, in a copy of the tree, and runs the tests near it.

    python bench/mutants.py [NAME ...] [--list] [--without-first-run]

The changes are in ``mutants.toml``: each guards a promise of the documentation. A change that no test notices has
survived; then the status is 1. Near tests must pass on the unchanged copy first.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_name("mutants.toml")
SKIPPED = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info", "*.onnx", "*.data")
SECONDS = 900  # a change may make a loop endless: that is noticed too


@dataclass(frozen=True)
class Mutant:
    """One change: ``original`` occurs once in ``file``, ``mutated`` stands there instead; ``tests`` must notice."""

    name: str
    promise: str
    file: str
    original: str
    mutated: str
    tests: tuple[str, ...]

    @property
    def files_of_tests(self) -> tuple[str, ...]:
        return tuple(test.partition("::")[0] for test in self.tests)


def mutants() -> list[Mutant]:
    """The table, in its order."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return [Mutant(name, **{**entry, "tests": tuple(entry["tests"])}) for name, entry in table.items()]


def copy_tree(target: Path) -> dict[str, str]:
    """Copy what the tests need to ``target``; the environment in which ``modelexport`` is that copy."""
    shutil.copytree(ROOT, target, ignore=SKIPPED, dirs_exist_ok=True)
    package = target / "links" / "modelexport"
    package.mkdir(parents=True)
    mapping = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    for name, folder in mapping.items():
        if name == "modelexport":
            for entry in (target / folder).iterdir():
                (package / entry.name).symlink_to(entry)
        elif name.count(".") == 1 and not folder.startswith("api/"):
            (package / folder).symlink_to(target / folder)
    return {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def status(tree: Path, environment: dict[str, str], tests: tuple[str, ...]) -> int | None:
    """What pytest returns for ``tests``; None where it did not end in time."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *dict.fromkeys(tests)]
    try:
        return subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=SECONDS).returncode
    except subprocess.TimeoutExpired:
        return None


def survives(mutant: Mutant, tree: Path, environment: dict[str, str]) -> bool:
    """Whether the near tests pass with the change. It is taken back afterwards."""
    file = tree / mutant.file
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(mutant.original, mutant.mutated), encoding="utf-8")
    try:
        return status(tree, environment, mutant.tests) == 0
    finally:
        file.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only those whose names begin so; all unless given")
    parser.add_argument("--list", action="store_true", help="print names and promises, run nothing")
    parser.add_argument("--without-first-run", action="store_true", help="the unchanged tree is known to pass")
    options = parser.parse_args()
    chosen = [each for each in mutants() if not options.names or each.name.startswith(tuple(options.names))]
    if not chosen or options.list:
        print("\n".join(f"{each.name:28} {each.promise}" for each in chosen) or "no mutant of that name")
        return 0 if chosen else 2
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        environment = copy_tree(tree)
        tests = tuple(dict.fromkeys(test for each in chosen for test in each.tests))
        if not options.without_first_run and status(tree, environment, tests) != 0:
            print("the near tests fail without any change: make them pass first")
            return 2
        survivors = []
        for mutant in chosen:
            began = time.perf_counter()
            if alive := survives(mutant, tree, environment):
                survivors.append(mutant)
            word = "SURVIVED" if alive else "killed"
            print(f"{mutant.name:28} {word:8} {time.perf_counter() - began:5.0f} s  {mutant.file}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
