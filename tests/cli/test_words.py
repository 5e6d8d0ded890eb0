"""Commands as people type them: lists before paths, commas, optional values, names that begin with a dash."""

from pathlib import Path

import pytest

import toolkit.edit.video
from toolkit.cli import main
from toolkit.edit.report import EditReport


@pytest.fixture
def edited(monkeypatch, tmp_path):
    """``edited(*words)`` runs ``toolkit edit`` without editing; returns input, output and settings."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def edit_video(source, target, config, observer):
        calls.append((source, target, config))
        return EditReport.model_construct(outcome="edited")

    monkeypatch.setattr(toolkit.edit.video, "edit_video", edit_video)

    def run(*words):
        assert main(["edit", *words]) == 0
        return calls.pop()

    return run


@pytest.mark.parametrize(
    ("words", "tasks"),
    [
        ("--task glasses in.mp4 out.mp4", ["glasses"]),
        ("--task glasses stickers in.mp4 out.mp4", ["glasses", "stickers"]),
        ("--task glasses,stickers in.mp4 out.mp4", ["glasses", "stickers"]),
        ("--task=glasses,stickers in.mp4 out.mp4", ["glasses", "stickers"]),
        ("--task glasses --task stickers in.mp4 out.mp4", ["glasses", "stickers"]),
        ("--task glasses in.mp4 --seed 3 out.mp4", ["glasses"]),
        ("in.mp4 --task glasses out.mp4", ["glasses"]),
        ("in.mp4 --task glasses,stickers out.mp4", ["glasses", "stickers"]),
        ("in.mp4 out.mp4 --task glasses stickers", ["glasses", "stickers"]),
        ("in.mp4 out.mp4 --task glasses stickers --seed 3", ["glasses", "stickers"]),
        ("--task glasses -- in.mp4 out.mp4", ["glasses"]),
    ],
)
def test_lists_leave_the_paths_alone(edited, words, tasks):
    source, target, config = edited(*words.split())
    assert (source, target, config.task) == (Path("in.mp4"), Path("out.mp4"), tasks)


def test_folders_that_exist_are_told_from_tasks(edited, tmp_path, monkeypatch):
    (tmp_path / "videos").mkdir()
    seen = []
    monkeypatch.setattr("toolkit.edit.folder.edit_videos", lambda *args: seen.append(args[:2]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        edited("--task", "glasses", "videos", "results")
    assert seen == [(Path("videos"), Path("results"))]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--task glasses", "INPUT and OUTPUT are missing: write `toolkit edit INPUT OUTPUT --task TASK`"),
        ("in.mp4 --task glasses", "OUTPUT is missing: write `toolkit edit INPUT OUTPUT --task TASK`"),
        ("in.mp4 --task glasses stickers", "OUTPUT is missing: write `toolkit edit INPUT OUTPUT --task TASK`"),
        ("--task glasses stickers hats", "INPUT and OUTPUT are missing"),
        ("in.mp4 out.mp4 more.mp4 --task glasses", "unknown argument more.mp4"),
        ("in.mp4 out.mp4 -task glasses", "unknown option -task, did you mean --task?"),
        ("in.mp4 --out.mp4 --task glasses", "unknown option --out.mp4; if it is a file, write ./--out.mp4"),
        ("in.mp4 out.mp4 -v", "unknown option -v"),
    ],
)
def test_unclear_command_is_one_sentence(words, sentence, capsys):
    assert main(["edit", *words.split()]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("--task glasses --preview in.mp4 out.mp4", 3),
        ("--preview in.mp4 out.mp4 --task glasses", 3),
        ("--preview 1.5 in.mp4 out.mp4 --task glasses", 1.5),
        ("--preview=2 in.mp4 out.mp4 --task glasses", 2),
        ("in.mp4 out.mp4 --task glasses --preview", 3),
        ("in.mp4 out.mp4 --task glasses", None),
    ],
)
def test_only_a_number_is_the_value_of_preview(edited, words, seconds):
    source, target, config = edited(*words.split())
    assert (source, target, config.writing.preview) == (Path("in.mp4"), Path("out.mp4"), seconds)


@pytest.mark.parametrize(
    "words",
    [
        "-clip.mp4 -out.mp4 --task glasses",
        "--task glasses -clip.mp4 -out.mp4",
        "--task glasses -- -clip.mp4 -out.mp4",
        "--preview -clip.mp4 -out.mp4 --task=glasses",
    ],
)
def test_names_may_begin_with_a_dash(edited, words):
    source, target, _ = edited(*words.split())
    assert (source, target) == (Path("-clip.mp4"), Path("-out.mp4"))


def test_names_may_begin_with_two_dashes(edited, tmp_path):
    (tmp_path / "--clip.mp4").touch()
    assert edited("--task", "glasses", "--clip.mp4", "out.mp4")[0] == Path("--clip.mp4")
    assert edited("--task", "glasses", "--", "--in.mp4", "--out.mp4")[:2] == (Path("--in.mp4"), Path("--out.mp4"))


def test_value_of_an_option_may_begin_with_a_dash(edited):
    config = edited("in.mp4", "out.mp4", "--task", "glasses", "--work-dir", "-work", "--remover", "-aa", "-bb")[2]
    assert (config.work_dir, config.remover) == (Path("-work"), [Path("-aa"), Path("-bb")])


def test_paths_with_commas(edited, tmp_path):
    (tmp_path / "a,b").mkdir()
    config = edited("in.mp4", "out.mp4", "--remover", "a,b", "c,d")[2]
    assert config.remover == [Path("a,b"), Path("c"), Path("d")]


def test_fixed_lists_take_commas_too(edited):
    for pair in (["0.1,0.5"], ["0.1", "0.5"]):
        source, _, config = edited("--blend-range", *pair, "in.mp4", "out.mp4", "--task", "glasses")
        assert (source, config.masking.blend_range) == (Path("in.mp4"), (0.1, 0.5))


@pytest.mark.parametrize(
    "words", [["--task", "stickers", "in.mp4", "out.mp4"], ["--task", "glasses,stickers"], ["--task=stickers"]]
)
def test_help_names_the_options_of_the_tasks_only(words, capsys):
    assert main(["edit", *words, "--help"]) == 0
    assert "Options of the task stickers" in capsys.readouterr().out


def test_list_of_another_verb(capsys):
    assert main(["fetch", "--parts", "vae,unet", "nothing"]) == 2
    assert "there is nothing called 'nothing' to fetch" in capsys.readouterr().err
    assert main(["removers", "--card", "-absent"]) == 2
    assert "'-absent' is neither" in capsys.readouterr().err
