"""Terminals that cannot print a name, a full disk behind stdout, and no stdout at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ODD = os.fsdecode("café-\N{SNOWMAN}-".encode() + b"\xff")

SCRIPT = """
import sys, types
import toolkit.cli as cli
from toolkit.cli.console import err, out
def run(args):
    out.print(args.name)
    err.print(args.name)
    print(args.name)
    open({done!r}, "w").close()
    return 0
cli.VERBS["act"] = ("the_module", "act")
configure = lambda parser, argv: parser.add_argument("name")
cli.import_module = lambda path: types.SimpleNamespace(configure=configure, run=run)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def act(tmp_path):
    """``act(name, env, **options)`` runs a verb that prints a name and then finishes its work."""
    done = tmp_path / "done"

    def run(name, variables=(), **options):
        done.unlink(missing_ok=True)
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        words = [sys.executable, "-c", SCRIPT.format(done=str(done)), "act", name]
        result = subprocess.run(words, env=os.environ | dict(variables), cwd=ROOT, **options)
        assert done.exists(), result.stderr
        return result

    return run


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"PYTHONIOENCODING": "utf-8"}, "café-\N{SNOWMAN}-\\xff"),
        ({"PYTHONIOENCODING": "ascii"}, "caf\\xe9-\\u2603-\\xff"),
        ({"PYTHONIOENCODING": "latin-1"}, "caf\xe9-\\u2603-\\xff"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "caf\\xe9-\\u2603-\\xff"),
    ],
)
def test_any_name_can_be_printed(act, variables, shown):
    result = act(ODD, variables)
    assert result.returncode == 0
    encoding = {"utf-8": "utf-8", "latin-1": "latin-1"}.get(variables.get("PYTHONIOENCODING"), "ascii")
    assert result.stdout.decode(encoding).split() == [shown, shown]
    assert result.stderr.decode(encoding).split() == [shown]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_behind_stdout_ends_no_work(act):
    with open("/dev/full", "w") as full:
        result = act("name", stdout=full)
        assert result.returncode == 1
        lines = result.stderr.decode().splitlines()
        assert lines[-1].startswith("error: what was found cannot be printed: No space left")
        assert act("name", stderr=full).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors as a POSIX shell does")
@pytest.mark.parametrize("closed", [[1], [2], [0, 1, 2]])
def test_closed_streams(act, closed):
    def close():
        for number in closed:
            os.close(number)

    assert act("name", preexec_fn=close, stdin=subprocess.DEVNULL).returncode == 0


def test_reader_that_leaves_ends_no_work(act):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as left:
        result = act("name", stdout=left)
    assert (result.returncode, result.stderr.decode()) == (1, "name\n")
