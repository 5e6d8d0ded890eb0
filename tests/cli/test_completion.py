"""`toolkit completion`: scripts that shells can read."""

import shutil
import subprocess

import pytest

from toolkit.cli import VERBS, main
from toolkit.cli.completion import SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_script_knows_verbs_flags_and_choices(shell, capsys):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)
    assert "crf" in text and "slider" in text
    if shutil.which(shell):
        result = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr


def test_bash_completes(tmp_path, capsys):
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    function = next(line.split(" -F ")[1].split()[0] for line in script.splitlines() if line.startswith("complete "))
    script += f"\nCOMP_WORDS=(toolkit edit --com)\nCOMP_CWORD=2\n{function}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    result = subprocess.run(["bash"], input=script, capture_output=True, text=True, cwd=tmp_path)
    assert "--compar" in result.stdout


def test_unknown_shell(capsys):
    assert main(["completion", "fish"]) == 2
    assert "bash" in capsys.readouterr().err
