"""A generated package installs, keeps the contract and passes its own tests, as anybody's would."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from toolkit.cli import main
from toolkit.cli import tasks as verb

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "README.md",
    "pyproject.toml",
    "toolkit_face_paint/__init__.py",
    "toolkit_face_paint/task.py",
    "tests/test_toolkit_face_paint.py",
}


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def create(name, folder):
    assert main(["tasks", "new", name, "--output", str(folder)]) == 0
    return contents(folder)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A generated package and the environment in which it is installed."""
    folder, target = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("target")
    create("face-paint", folder)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(target), str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder, os.environ | {"PYTHONPATH": os.pathsep.join([str(target), str(ROOT)])}


def run(installed, *words, cwd):
    return subprocess.run([sys.executable, *words], env=installed[1], cwd=cwd, capture_output=True, text=True)


def test_the_installed_task_is_listed_and_shown(installed, tmp_path):
    listed = run(installed, "-m", "toolkit", "tasks", "list", cwd=tmp_path)
    row = next(line for line in listed.stdout.splitlines() if line.split()[:1] == ["face-paint"])
    assert row.split()[1:4] == ["ok", "toolkit-face-paint", "0.1.0"]
    shown = run(installed, "-m", "toolkit", "tasks", "show", "face-paint", cwd=tmp_path)
    assert shown.returncode == 0 and " radius " in shown.stdout and "up to 0.3" in shown.stdout


def test_the_installed_task_keeps_the_contract(installed, tmp_path):
    done = run(installed, "-m", "toolkit", "tasks", "check", "face-paint", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "face-paint keeps the contract" in done.stdout and "failed" not in done.stdout


def test_its_own_tests_pass(installed):
    done = run(installed, "-m", "pytest", "-p", "no:cacheprovider", cwd=installed[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 5


def test_its_own_tests_fail_on_a_task_that_breaks_the_contract(installed, tmp_path):
    for path, text in contents(installed[0]).items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            text.replace("mask = clip.frames[t], alpha[..., 0] > 0", "mask = clip.frames[t], alpha[..., 0] > 0.5")
        )
    done = run(installed, "-m", "pytest", "-p", "no:cacheprovider", cwd=tmp_path)
    assert done.returncode == 1 and "pixels outside the mask" in done.stdout


def test_the_package_is_complete_and_small(tmp_path):
    files = create("face-paint", tmp_path / "package")
    assert set(files) == FILES
    assert not any("$" in text for text in files.values())
    assert len(files["toolkit_face_paint/task.py"].splitlines()) < 60
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["name"] == "toolkit-face-paint"
    assert project["project"]["entry-points"]["toolkit.tasks"] == {"face-paint": "toolkit_face_paint:FacePaintTask"}
    code = [line for path, text in files.items() if path.endswith(".py") for line in text.splitlines()]
    assert max(map(len, code)) <= 120


@pytest.mark.parametrize("name", ["x", "class", "json", "a1-2b-c", "toolkit"])
def test_names_that_are_words_of_python_make_valid_packages(name, tmp_path):
    for path, text in create(name, tmp_path / "package").items():
        if path.endswith(".py"):
            ast.parse(text, path)
            assert all(part.isidentifier() for part in Path(path).with_suffix("").parts)
        elif path.endswith(".toml"):
            tomllib.loads(text)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Face Paint", "did you mean face-paint?"),
        ("face_paint", "did you mean face-paint?"),
        ("FacePaint", "did you mean face-paint?"),
        ("3d", "did you mean d?"),
        ("../evil", "did you mean evil?"),
        ("a--b", "did you mean a-b?"),
        ("Mole2-", "did you mean mole2?"),
        ("a\n", "did you mean a?"),
        ("été", ""),
        ("", "found ''"),
    ],
)
def test_a_bad_name_is_refused_in_one_sentence(name, hint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["tasks", "new", name]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: the name of a task must be lower-case words") and hint in message
    assert message.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_name_of_an_installed_task_is_refused(tmp_path, capsys):
    assert main(["tasks", "new", "stickers", "--output", str(tmp_path / "package")]) == 2
    assert "vlasik-toolkit already offers a task 'stickers'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_stays_as_it_was(tmp_path, capsys):
    create("face-paint", tmp_path)
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    before = contents(tmp_path)
    assert main(["tasks", "new", "face-paint", "--output", str(tmp_path)]) == 2
    assert "must be new or empty" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_an_empty_folder_and_the_current_one_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["tasks", "new", "face-paint", "--output", "."]) == 0
    assert set(contents(tmp_path)) == FILES


def test_the_default_folder_has_the_name_of_the_distribution(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["tasks", "new", "face-paint"]) == 0
    assert set(contents(tmp_path / "toolkit-face-paint")) == FILES
    assert "pip install -e 'toolkit-face-paint[dev]'" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["file", "file/package", "long"])
def test_a_place_that_cannot_be_written_is_refused(output, tmp_path, capsys):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    folder = tmp_path / ("x" * 300 if output == "long" else output)
    assert main(["tasks", "new", "face-paint", "--output", str(folder)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: the package cannot be written to") and "--output" in message
    assert contents(tmp_path) == {"file": "mine"}


def test_a_failure_halfway_leaves_nothing(tmp_path, monkeypatch, capsys):
    real = Path.write_text

    def full(self, *args, **kwargs):
        if self.name == "task.py":
            raise OSError(28, "No space left on device")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["tasks", "new", "face-paint", "--output", str(tmp_path)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_template_is_used():
    folder = Path(verb.__file__).parent / "scaffold"
    assert {path.name for path in folder.iterdir()} == set(verb._TEMPLATES.values())
