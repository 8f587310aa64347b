"""Whatever is in a file or a text that a command reads, it ends with a result or with one line that says what is wrong.

The number of examples is small here. ``make fuzz`` sets ``MODELEXPORT_FUZZ_EXAMPLES``, and keeps what it finds in
``tests/corpus``, which is run again by every test run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path

import fuzz_running
import psutil
import pytest
from fuzz_targets import TARGETS, check, kept, number_of_commands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelexport.passes import Pipeline

CORPUS = Path(__file__).parents[1] / "corpus"
EXAMPLES = int(os.environ.get("MODELEXPORT_FUZZ_EXAMPLES", "0"))
MEMORY = 6 << 30  # bytes beyond those that the tests have
PATIENCE = 60  # seconds for one example


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fuzz")
    fuzz_running.prepare(made)
    return made


@pytest.fixture(autouse=True, scope="module")
def bounded() -> Iterator[None]:
    """What an example says of sizes must not fill the memory: an allocation that is refused is one line as well."""
    try:
        import resource
    except ImportError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(ValueError, OSError):  # some systems have no such limit
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder) if (folder / name).is_file()}
    yield
    for name, data in before.items():
        (folder / name).write_bytes(data)


def checked(name: str, data: bytes, folder: Path, which: int | None) -> None:
    """Check one example, within its time."""

    def too_long(number: int, frame: object) -> None:
        raise AssertionError(f"{name}: an example takes more than {PATIENCE} s")

    alarm = getattr(signal, "SIGALRM", None)
    if alarm is not None:
        signal.signal(alarm, too_long)
        signal.alarm(PATIENCE)
    try:
        check(name, data, folder, which)
    finally:
        if alarm is not None:
            signal.alarm(0)


@pytest.mark.parametrize("name", TARGETS)
def test_a_result_or_one_line(name: str, folder: Path) -> None:
    target = TARGETS[name]
    commands = st.integers(0, max(0, number_of_commands(name) - 1))

    @given(target.examples(folder), commands)
    @settings(
        deadline=None,
        max_examples=EXAMPLES or 40,
        database=None,
        report_multiple_bugs=bool(EXAMPLES),
        suppress_health_check=list(HealthCheck),
    )
    def example(data: bytes, which: int) -> None:
        try:
            checked(name, data, folder, which)
        except Exception as error:
            if EXAMPLES:
                _keep(name, data, error)
            raise

    example()


def _keep(name: str, data: bytes, error: Exception) -> None:
    """Put what was found into the corpus, one file for each place that fails; a smaller example replaces a larger."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__}:{Path(last.filename).name}:{last.name}"
    path = CORPUS / name / f"{type(error).__name__}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_size >= len(data):
        path.write_bytes(data)


@pytest.mark.parametrize(("name", "path"), kept(CORPUS), ids=lambda value: str(getattr(value, "name", value)))
def test_what_was_found_before(name: str, path: Path, folder: Path) -> None:
    checked(name, path.read_bytes(), folder, None)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("name", ["sidecar", "profile", "overlay", "config", "manifest", "results"])
def test_json_that_is_nested_deeper_than_python_reads(name: str, opening: bytes, folder: Path) -> None:
    checked(name, opening * 200_000, folder, None)


def test_every_pass_that_a_target_names_is_there() -> None:
    """A pipeline of an unknown pass would only ever test its error message."""
    texts = {
        words[words.index("--passes") + 1]
        for target in TARGETS.values()
        for words in target.commands
        if "--passes" in words
    }
    assert len(texts - {fuzz_running.INPUT}) >= 3
    for text in texts - {fuzz_running.INPUT}:
        Pipeline.parse(text)
