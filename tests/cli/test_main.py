"""The command line as people meet it: help, exit codes, one line per error."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import toolkit.cli
from toolkit.cli import VERBS, main
from toolkit.errors import InputError, UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def verb(monkeypatch):
    """``verb(function)`` puts a verb `act` on the command line that calls the function."""

    def put(function, configure=lambda parser, argv: None):
        class Module:
            run = staticmethod(function)

        Module.configure = staticmethod(configure)
        monkeypatch.setitem(VERBS, "act", ("the_module", "act now"))
        real = toolkit.cli.import_module
        monkeypatch.setattr(toolkit.cli, "import_module", lambda p: Module if p == "the_module" else real(p))

    return put


def raising(error):
    def run(args):
        raise error

    return run


def test_help_lists_every_verb(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, (_, line) in VERBS.items():
        assert name in text and line in " ".join(text.split())


def test_no_verb_shows_the_help_and_fails(capsys):
    assert main([]) == 2
    assert "build-dataset" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"toolkit {version('vlasik-toolkit')}"


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"usage: toolkit {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["build-datasets"], "there is no verb 'build-datasets', did you mean build-dataset?"),
        (["xyzzy"], "there is no verb 'xyzzy'; known are edit, build-dataset"),
        (["--versoin"], "unknown option --versoin, did you mean --version?"),
        (["doctor", "--jsn"], "unknown option --jsn, did you mean --json?"),
        (["doctor", "extra"], "unknown argument extra"),
        (["dataset"], "ACTION"),
    ],
)
def test_wrong_request_is_one_line(argv, words, capsys):
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert words in captured.err


def test_exit_code_of_a_verb(verb):
    verb(lambda args: 7)
    assert main(["act"]) == 7


@pytest.mark.parametrize(("error", "code"), [(InputError("bad\nfile"), 1), (UsageError("bad file"), 2)])
def test_toolkit_error_is_one_line_with_its_code(verb, capsys, error, code):
    verb(raising(error))
    assert main(["act"]) == code
    assert capsys.readouterr().err == "error: bad file\n"


def test_interruption(verb, capsys):
    verb(raising(KeyboardInterrupt()))
    assert main(["act"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_bug_keeps_its_traceback(verb):
    verb(raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["act"])


def test_verb_sees_its_words_ahead(verb):
    seen = []

    def configure(parser, argv):
        seen.extend(argv)
        parser.add_argument("--x")

    verb(lambda args: 0 if args.x == "1" else 1, configure)
    assert main(["act", "--x", "1"]) == 0
    assert seen == ["--x", "1"]


def test_module_runs_as_the_script_does():
    result = subprocess.run([sys.executable, "-m", "toolkit", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert (result.returncode, result.stdout.strip()) == (0, f"toolkit {version('vlasik-toolkit')}")


def test_reader_that_leaves_makes_no_noise():
    # More text than a pipe holds, so that writing fails while the verb still runs.
    script = (
        "import sys, types, toolkit.cli as cli\n"
        "def run(args):\n    for _ in range(100000): print('a line of text')\n    return 0\n"
        "module = types.SimpleNamespace(configure=lambda parser, argv: None, run=run)\n"
        "cli.VERBS['act'] = ('the_module', 'act')\n"
        "cli.import_module = lambda path: module\n"
        "sys.exit(cli.main(['act']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 1
