"""``modelexport run`` around programs that export nothing: they can't tell that it is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import RUN, Done, ours

Run = Callable[..., Done]
REPORT = """
import json, os, sys
names = [name for name in os.environ if name not in ("MODELEXPORT_TAGGING", "PYTHONPATH", "LINES", "COLUMNS", "_")]
print(json.dumps({
    "argv": sys.argv, "name": __name__, "first": sys.path[0], "rest": sys.path[1:], "cwd": os.getcwd(),
    "stdin": sys.stdin.read(), "environ": sorted(names), "orig": sys.orig_argv[1:],
    "torch": "torch" in sys.modules, "site": "sitecustomize" in sys.modules,
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "blocked": [line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn", "SigCgt"))],
}))
"""


def plain(*words: str, **options: object) -> Done:
    return subprocess.run(words, capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.linux
@pytest.mark.parametrize("form", ["script", "module", "code", "looked up", "executable", "behind dashes"])
def test_the_program_sees_what_it_would_see_without_us(run: Run, tmp_path: Path, form: str) -> None:
    (tmp_path / "prog.py").write_text(REPORT)
    (tmp_path / "tool.py").write_text(f"#!{sys.executable}\n{REPORT}")
    (tmp_path / "tool.py").chmod(0o755)
    words = {
        "script": (sys.executable, "prog.py"),
        "module": (sys.executable, "-m", "prog"),
        "code": (sys.executable, "-c", REPORT),
        "looked up": ("env", sys.executable, "prog.py"),
        "executable": ("./tool.py",),
        "behind dashes": (sys.executable, "prog.py"),
    }[form]
    arguments = ("--strict", "a b", "--", "-q", "")
    ours_first = words[1:] if words[0] == sys.executable else words
    front = ("--",) if form == "behind dashes" else ()
    expected = plain(*words, *arguments, input="hello", cwd=tmp_path)
    found = run(*front, *ours_first, *arguments, input="hello")
    assert expected.returncode == 0, expected.stderr
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == json.loads(expected.stdout)
    assert found.stderr == expected.stderr + "modelexport: no export was seen\n"


def test_options_of_ours_end_at_the_first_word_that_is_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text("import sys; print(sys.argv[1:])")
    assert run("-q", "prog.py", "-q", "--passes", "x", "--help").stdout == "['-q', '--passes', 'x', '--help']\n"
    assert (
        run("--passes=htp", "--finish", "none", "-q", "-c", "import sys; print(sys.argv)", "-m").stdout
        == "['-c', '-m']\n"
    )
    assert run("-q", "-mprog", "1").stdout == "['1']\n"


@pytest.mark.posix
def test_exit_codes_are_the_programs(run: Run) -> None:
    assert run("-c", "raise SystemExit(7)").returncode == 7
    assert run("-c", "import os; os.kill(os.getpid(), 9)").returncode == 128 + 9
    failed = run("-c", "raise ValueError('mine')")
    assert failed.returncode == 1 and "ValueError: mine" in failed.stderr and "modelexport/" not in failed.stderr
    assert run("sh", "-c", "exit 3").returncode == 3
    assert run("--strict", "-c", "raise SystemExit(7)").returncode == 7
    assert run("--strict", "-c", "pass").returncode == 1
    assert run("-q", "-c", "pass").stderr == ""


@pytest.mark.parametrize(
    "words, said",
    [
        (("missing.py",), "missing.py"),
        (("no-such-program-here",), "no-such-program-here"),
        (("./plain.txt",), "not executable"),
        ((".",), "folder"),
        (("--strct", "prog.py"), "--strct"),
        (("--passes", "nope", "prog.py"), "nope"),
        (("--passes", "htp,constant-folding", "prog.py"), "constant-folding"),
        (("--record", "plain.txt", "prog.py"), "plain.txt"),
        (("--record", "missing/folder", "prog.py"), "missing/folder"),
        (("-m",), "-m"),
        ((), "PROGRAM"),
        (("--sidecar",), "PROGRAM"),
        (("--passes",), "--passes"),
    ],
)
def test_what_is_wrong_is_said_before_the_program_starts(
    run: Run, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "plain.txt").write_text("x")
    (tmp_path / "prog.py").write_text("open('started', 'w')")
    done = run(*words)
    errors = [line for line in done.stderr.splitlines() if line.lower().startswith("error:")]
    assert done.returncode == 2 and done.stdout == ""
    assert len(errors) == 1 and said in errors[0]
    assert not (tmp_path / "started").exists()


def test_a_bad_memory_limit_is_said_first(run: Run) -> None:
    done = run("-c", "print(1)", environment={"MODELEXPORT_MEMORY_LIMIT_MB": "much"})
    assert done.returncode == 2 and "MODELEXPORT_MEMORY_LIMIT_MB" in done.stderr and done.stdout == ""


def test_an_existing_sitecustomize_still_runs(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import builtins; builtins.theirs = __file__, __name__")
    (tmp_path / "prog.py").write_text("import sys; print(theirs, sys.modules['sitecustomize'].__file__)")
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    done = run("prog.py", environment={"PYTHONPATH": path})
    file = str(site / "sitecustomize.py")
    assert done.stdout == f"('{file}', 'sitecustomize') {file}\n", done.stderr
    (site / "sitecustomize.py").write_text("raise ValueError('theirs')")
    (tmp_path / "prog.py").write_text("print('on')")
    expected = plain(sys.executable, "prog.py", cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    done = run("-q", "prog.py", environment={"PYTHONPATH": path})
    assert (done.stdout, done.stderr) == (expected.stdout, 2 * expected.stderr)  # run itself imports it too
    assert "theirs" in done.stderr


@pytest.mark.parametrize("flags", ["-I", "-S", "-E"])
def test_a_python_that_looks_away_is_left_alone(run: Run, flags: str) -> None:
    done = run(sys.executable, flags, "-c", "import sys; print('modelexport' in sys.modules)")
    assert done.stdout == "False\n" and done.returncode == 0


def test_a_python_starts_light(run: Run) -> None:
    code = "import sys; print(*sorted(sys.modules))"
    assert run("-q", "-c", code).stdout == plain(sys.executable, "-c", code).stdout


def start(tmp_path: Path, code: str) -> subprocess.Popen[str]:
    """A run whose program has written its first line."""
    (tmp_path / "prog.py").write_text(textwrap.dedent(code))
    process = subprocess.Popen(
        [*RUN, "prog.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_signals_reach_the_program(tmp_path: Path) -> None:
    process = start(
        tmp_path,
        """
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"terminated\\n"), sys.exit(5)))
        signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"user\\n"))
        print("ready", flush=True)  # a handler that prints may come while this still flushes, which print refuses
        while True: time.sleep(0.05)
        """,
    )
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None and process.stdout.readline() == "user\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == ("terminated\n", 5)


def test_an_interrupt_is_the_programs(tmp_path: Path) -> None:
    process = start(
        tmp_path,
        """
        import time
        try:
            print("ready", flush=True)
            time.sleep(30)
        except KeyboardInterrupt:
            print("caught", flush=True)
            raise
        """,
    )
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out, process.returncode) == ("caught\n", 130)
    assert "KeyboardInterrupt" in err and err.endswith("modelexport: no export was seen\n")


def test_a_program_that_signals_cant_end_is_waited_for(tmp_path: Path) -> None:
    code = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(1)"
    process = start(tmp_path, code)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0 and time.monotonic() - began > 0.3


def test_nothing_of_ours_stays_behind(run: Run, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = "import os; print(os.listdir(os.environ['MODELEXPORT_TAGGING']))"
    done = run("-c", code, environment={"TMPDIR": str(scratch)})
    assert "settings.json" in done.stdout and ours(done) == ["no export was seen"]
    assert list(scratch.iterdir()) == []
