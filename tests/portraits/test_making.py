"""`toolkit make-people`: videos of people who do not exist, from portraits that are chosen by a manifest."""

import json

import numpy as np
import pytest
from PIL import Image

from toolkit.cli import main
from toolkit.errors import InputError, UsageError
from toolkit.executor import InlineExecutor
from toolkit.portraits import PeopleConfig, list_portraits, make_people
from toolkit.progress import Observer
from toolkit.testing.sample_portrait import load_portrait
from toolkit.video import probe, read_frames


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """A folder with one portrait, and a file that is none."""
    folder = tmp_path_factory.mktemp("portraits")
    Image.fromarray(load_portrait(512).image).save(folder / "001_a.png")
    (folder / "notes.txt").write_text("")
    return folder


class Shown(Observer):
    def __init__(self):
        self.calls = []

    def phase(self, name, total, unit, done=0):
        self.calls.append((name, total, unit, done))

    def advance(self, done, **figures):
        self.calls.append((done,))


def config(portraits, output, **changed):
    return PeopleConfig(**{"portraits": portraits, "output": output, "clips": 2, "frames": 3, "size": 128} | changed)


def state(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}


def test_people_are_made_once_and_more_may_be_asked_for(portraits, tmp_path):
    shown = Shown()
    output = tmp_path / "people"
    assert make_people(config(portraits, output), shown, InlineExecutor()) == 2
    assert shown.calls == [("making people", 2, "videos", 0), (1,), (2,)]
    before = state(output)
    assert set(before) == {"000000.mp4", "000001.mp4"}
    info = probe(output / "000000.mp4")
    assert (info.width, info.height, info.frame_count, info.fps) == (128, 128, 3, 25)
    assert make_people(config(portraits, output, clips=3), executor=InlineExecutor()) == 1
    assert state(output).items() > before.items()
    (output / "000001.mp4").unlink()
    assert make_people(config(portraits, output), executor=InlineExecutor()) == 1
    again = [frame.image for frame in read_frames(output / "000001.mp4")]
    make_people(config(portraits, tmp_path / "other"), executor=InlineExecutor())
    assert np.array_equal(again, [frame.image for frame in read_frames(tmp_path / "other" / "000001.mp4")])


def test_they_show_faces_and_differ(portraits, tmp_path):
    from toolkit.faces import create_analyser

    make_people(config(portraits, tmp_path / "p", clips=3, size=192), executor=InlineExecutor())
    analyser, found = create_analyser("mediapipe"), []
    for path in sorted((tmp_path / "p").glob("*.mp4")):
        frame = next(iter(read_frames(path))).image
        found.append(bool(analyser.analyse(frame)))
    assert sum(found) >= 2, "most are seen; some look far aside or are partly covered"


def test_another_seed_wants_another_folder(portraits, tmp_path):
    make_people(config(portraits, tmp_path / "p", clips=1), executor=InlineExecutor())
    with pytest.raises(UsageError, match=r"made with other settings: .*seed was 0, now 1"):
        make_people(config(portraits, tmp_path / "p", clips=1, seed=1), executor=InlineExecutor())
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="must be a folder, found a file"):
        make_people(config(portraits, tmp_path / "file"), executor=InlineExecutor())


def test_portraits_are_listed(tmp_path):
    for name in ("b.JPG", "a.png", "deep/c.jpeg", "d.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = lambda files: [path.relative_to(tmp_path).as_posix() for path in files]  # noqa: E731
    assert names(list_portraits(tmp_path)) == ["a.png", "b.JPG", "deep/c.jpeg"]
    manifest = tmp_path / "list.csv"
    manifest.write_text("file,use\na.png,train: yes\ndeep/c.jpeg,test\nmissing.png,train: yes\n")
    assert names(list_portraits(tmp_path, manifest)) == ["a.png", "deep/c.jpeg"]
    assert names(list_portraits(tmp_path, manifest, "train: yes")) == ["a.png"]
    with pytest.raises(InputError, match="found none"):
        list_portraits(tmp_path, manifest, "never")
    manifest.write_text("name\na.png\n")
    with pytest.raises(InputError, match="expected the columns"):
        list_portraits(tmp_path, manifest)
    manifest.write_bytes(b"file,use\n\xff,x\n")
    with pytest.raises(InputError, match="cannot be read"):
        list_portraits(tmp_path, manifest)
    with pytest.raises(InputError, match="is not a folder"):
        list_portraits(tmp_path / "nowhere")


def test_the_command_line(portraits, tmp_path, capsys):
    words = ["make-people", "--portraits", str(portraits), "--output", str(tmp_path / "p"), "--clips", "1"]
    words += ["--frames", "2", "--size", "64", "--workers", "1"]
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == f"1 video in {tmp_path / 'p'} (1 new)"
    assert json.loads((tmp_path / "p/settings.json").read_text())["size"] == 64
    assert main([*words, "--seed", "5"]) == 2
