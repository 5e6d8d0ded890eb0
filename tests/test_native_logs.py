"""Native libraries' lines on stderr: hidden around calls into them, shown on demand; nothing else is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit import native_logs

ROOT = Path(__file__).resolve().parents[1]


def stderr_of(code, **environment):
    """What a child process with this code writes to stderr, as lines."""
    prelude = (
        "import os, sys, threading, warnings\nfrom toolkit.native_logs import hidden, quiet\n"
        "def native(text): os.write(2, f'{text}\\n'.encode())\n"
        "def python(text): print(text, file=sys.stderr)\n"
    )
    known = {key: value for key, value in os.environ.items() if key not in (native_logs.VERBOSE, "PYTHONWARNINGS")}
    environment = known | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", prelude + code]
    return subprocess.run(command, capture_output=True, text=True, env=environment).stderr.splitlines()


CALL = "with hidden():\n        native('W0000'); python('progress')\n    native('last words')\n"


def test_only_native_lines_within_a_call_are_hidden():
    assert stderr_of(f"with quiet():\n    {CALL}native('after'); python('end')") == [
        "progress",
        "last words",
        "after",
        "end",
    ]


@pytest.mark.parametrize(
    ("start", "environment"),
    [("quiet(show=True)", {}), ("quiet()", {"TOOLKIT_VERBOSE": "1"}), ("open(os.devnull)", {})],
)
def test_shown_on_demand_and_in_a_program_of_the_user(start, environment):
    assert stderr_of(f"with {start}:\n    {CALL}", **environment) == ["W0000", "progress", "last words"]


def test_calls_that_nest_and_overlap():
    code = """
with quiet(), quiet():
    inside, leave = threading.Event(), threading.Event()
    def other():
        with hidden():
            inside.set(); leave.wait(10); native("hidden 2")
    thread = threading.Thread(target=other)
    with hidden():
        thread.start(); inside.wait(10)
        with hidden():
            native("hidden 1")
    native("hidden 3")
    leave.set(); thread.join()
    native("shown")
"""
    assert stderr_of(code) == ["shown"]


def test_an_error_within_a_call_is_shown_whole():
    lines = stderr_of("with quiet():\n    with hidden():\n        native('E0000'); raise ValueError('why')")
    assert lines[0].startswith("Traceback") and lines[-1] == "ValueError: why" and "E0000" not in lines


def test_warnings_of_packages_are_for_those_who_ask():
    code = "with quiet():\n    warnings.warn('old')"
    assert stderr_of(code) == []
    assert "UserWarning: old" in stderr_of(code, PYTHONWARNINGS="default")[0]
    assert "UserWarning: old" in stderr_of(code, TOOLKIT_VERBOSE="1")[0]


def test_log_levels_of_packages_but_not_those_of_the_user(monkeypatch):
    monkeypatch.setenv("DIFFUSERS_VERBOSITY", "info")
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    with native_logs.quiet():
        assert (os.environ["DIFFUSERS_VERBOSITY"], os.environ["TRANSFORMERS_VERBOSITY"]) == ("info", "error")
    assert os.environ["DIFFUSERS_VERBOSITY"] == "info" and "TRANSFORMERS_VERBOSITY" not in os.environ


def test_verbosity_ends_with_the_block(monkeypatch):
    monkeypatch.delenv(native_logs.VERBOSE, raising=False)
    with native_logs.quiet(show=True):
        assert native_logs.verbose()
    assert not native_logs.verbose() and native_logs.VERBOSE not in os.environ


def test_without_stderr_no_other_file_is_touched(tmp_path):
    code = (
        "import os, sys\nfrom toolkit.native_logs import hidden, quiet\n"
        "assert sys.stderr is None and os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT) == 2\n"
        "with quiet(), hidden():\n    os.write(2, b'frames')"
    )
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code, str(tmp_path / "video.mp4")]
    environment = {key: value for key, value in os.environ.items() if key != native_logs.VERBOSE}
    assert subprocess.run(shell, env=environment | {"PYTHONPATH": str(ROOT)}).returncode == 0
    assert (tmp_path / "video.mp4").read_bytes() == b"frames"


def test_captured_stderr_stays_captured(capfd):
    with native_logs.quiet():
        with native_logs.hidden():
            os.write(2, b"W0000\n")
            print("progress", file=sys.stderr)
        print("end", file=sys.stderr)
    assert capfd.readouterr().err == "progress\nend\n"
