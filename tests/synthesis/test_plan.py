"""What a build decides before it starts: sources, names, split and segments."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from toolkit.errors import InputError, UsageError
from toolkit.synthesis.config import BuildConfig
from toolkit.synthesis.plan import Source, make_plan, segments_of, split_sources
from toolkit.validation import validated
from toolkit.video.finding import find_videos

DIGESTS = [f"{number:064x}" for number in range(40)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 10, 15, 25, 40])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.5, 0.99])
def test_the_split_has_the_share_that_was_asked_for(count, fraction):
    split = split_sources(DIGESTS[:count], fraction, seed=3)
    held_out = sum(name == "validation" for name in split.values())
    wanted = int(fraction * count + 0.5)
    if fraction > 0 and count >= 2:
        wanted = min(max(wanted, 1), count - 1)
    assert held_out == (wanted if count >= 2 else 0)
    assert set(split) == set(DIGESTS[:count])


def test_the_split_depends_on_seed_and_digests_alone():
    first = split_sources(DIGESTS, 0.3, seed=0)
    assert split_sources(reversed(DIGESTS), 0.3, seed=0) == first
    assert split_sources(DIGESTS, 0.3, seed=1) != first


@pytest.mark.parametrize("frames", [0, 1, 39, 40, 79, 80, 81, 199, 200, 239, 240, 1000, 1001])
@pytest.mark.parametrize("max_clips", [None, 1, 3, 100])
def test_segments_cover_a_source_once_in_whole_clips(frames, max_clips):
    config = BuildConfig(
        task="x", videos=["v"], output="o", clip_length=40, segment_frames=110, max_clips=max_clips
    ).resolved()
    source = Source(Path("/v/My Vidéo (1).mp4"), "My Vidéo (1).mp4", "ab" * 32, frames, 64)
    segments = segments_of(source, "train", config)
    if max_clips is None:
        assert segments[0].start == 0
        assert segments[-1].stop is None  # a container may count fewer packets than it holds
        assert [s.start for s in segments[1:]] == [s.stop for s in segments[:-1]]
        assert sum(s.frames for s in segments) == frames
    else:
        assert sum(s.max_clips for s in segments) == max_clips
    assert all(s.start % 40 == 0 and s.frames <= 80 + 39 for s in segments)
    assert len(segments) == 1 or all(s.frames >= 40 for s in segments)
    assert [s.name for s in segments] == sorted({s.name for s in segments})
    assert all(s.name.startswith("my-video-1-abababababab-") for s in segments)


def test_folders_are_searched_and_files_are_taken_as_they_are(tmp_path):
    for name in ("b.mp4", "deep/er/a.MOV", "notes.txt", ".hidden.mp4", ".git/c.mp4", "film.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "same.mp4").symlink_to(tmp_path / "b.mp4")
    found = find_videos([tmp_path, tmp_path / "b.mp4", tmp_path / "film.bin"])
    assert [name for _, name in found] == ["b.mp4", "deep/er/a.MOV", "film.bin"]


@pytest.mark.parametrize(
    "suffix",
    ["f4v", "vob", "mts", "m2t", "mxf", "asf", "ogm", "divx", "mod", "tod", "dv", "3g2", "mpe", "rmvb", "M2TS"],
)
def test_what_cameras_and_old_programs_write_is_found(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_bytes(b"x")
    assert [name for _, name in find_videos([tmp_path])] == [f"a.{suffix}"]


def test_what_is_skipped_is_counted_and_said_once(tmp_path):
    for name in ("a.mp4", "b.jpg", "deep/c.JPG", "notes.txt", "README", ".a.mp4", ".old/d.mp4", ".DS_Store", "._a.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    said = []
    assert len(find_videos([tmp_path, tmp_path / "deep" / "c.JPG"], tell=said.append)) == 2
    assert said == ["6 other files were skipped: 2 .jpg, 2 hidden, 1 .txt, 1 without an extension"]
    said.clear()
    find_videos([tmp_path / "a.mp4"], tell=said.append)
    assert said == []
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(InputError, match=r"no video in the folder .*; 6 other files were skipped: 2 \.jpg"):
        find_videos([tmp_path])


def test_a_folder_below_that_cannot_be_read_is_counted(open_folder):
    (open_folder / "a.mp4").write_bytes(b"x")
    (open_folder / "locked").mkdir()
    (open_folder / "locked").chmod(0)
    said = []
    with unprivileged():
        assert len(find_videos([open_folder], tell=said.append)) == 1
    assert said == ["1 other file was skipped: 1 folder that cannot be read"]


def test_a_name_that_is_not_utf8_stays_readable(tmp_path):
    file = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    file.write_bytes(b"x")
    ((path, name),) = find_videos([tmp_path])
    assert path.read_bytes() == b"x"
    assert name == "caf\\xe9.mp4"
    name.encode()


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no such video or folder: .*gone.mp4"):
        find_videos([tmp_path / "gone.mp4"])


def test_a_folder_without_videos(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"no video in the folder .*expected files such as .mp4"):
        find_videos([tmp_path])


@contextlib.contextmanager
def unprivileged():
    """Root may read everything, so act as nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(folder)


@pytest.mark.parametrize("named", ["locked", "locked/a.mp4"])
def test_a_folder_that_cannot_be_read(open_folder, named):
    locked = open_folder / "locked"
    locked.mkdir()
    (locked / "a.mp4").write_bytes(b"x")
    locked.chmod(0)
    with unprivileged(), pytest.raises(InputError, match=r"cannot be read.*Permission denied"):
        find_videos([open_folder / named])
    locked.chmod(0o700)


def test_a_file_that_cannot_be_read_fails_alone(open_folder, videos):
    shutil.copy(videos / "a.mp4", open_folder / "a.mp4")
    (open_folder / "a.mp4").chmod(0o644)
    (open_folder / "b.mp4").write_bytes(b"x")
    (open_folder / "b.mp4").chmod(0)
    config = BuildConfig(task="x", videos=[open_folder], output=open_folder / "o").resolved()
    with unprivileged():
        plan = make_plan(config)
    assert [source.name for source in plan.sources] == ["a.mp4"]
    ((bad),) = plan.unusable
    assert (bad.name, bad.status) == ("b.mp4", "failed")
    assert bad.reason == "the file cannot be read: Permission denied"


def test_a_pipe_is_not_waited_for(tmp_path, videos):
    os.mkfifo(tmp_path / "pipe.mp4")
    shutil.copy(videos / "a.mp4", tmp_path)
    plan = make_plan(BuildConfig(task="x", videos=[tmp_path], output=tmp_path / "o").resolved())
    ((bad),) = plan.unusable
    assert (bad.name, bad.status) == ("pipe.mp4", "failed")
    assert "expected a file" in bad.reason


def test_equal_files_count_once(tmp_path, videos):
    for name in ("a.mp4", "copy.mp4"):
        shutil.copy(videos / "a.mp4", tmp_path / name)
    plan = make_plan(BuildConfig(task="x", videos=[tmp_path], output=tmp_path / "o").resolved())
    assert [source.name for source in plan.sources] == ["a.mp4"]
    ((copy),) = plan.unusable
    assert (copy.name, copy.status, copy.reason) == ("copy.mp4", "skipped", "the same file as a.mp4")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"resolution": 100}, "'resolution' must be a multiple of 8"),
        ({"clip_length": 4}, "min_clip_length must be at most clip_length, 4, found 8; .*lower min_clip_length too"),
        ({"segment_frames": 39}, "segment_frames must be at least clip_length, 40, found 39"),
        ({"validation_fraction": 1}, "'validation_fraction' must be less than 1"),
        ({"videos": []}, "'videos'.* at least 1 item"),
        ({"resolutoin": 64}, "unknown option 'resolutoin', did you mean 'resolution'"),
    ],
)
def test_settings_that_cannot_be(changes, words):
    with pytest.raises(UsageError, match=words):
        validated(BuildConfig, {"task": "x", "videos": ["v"], "output": "o"} | changes)


def test_the_run_is_no_part_of_the_content(tmp_path):
    one = BuildConfig(task="x", videos=["v"], output="o", workers=1).resolved()
    other = BuildConfig(task="x", videos=["w"], output="p", workers=7, allow_failures=True).resolved()
    assert one.content() == other.content()
    assert one.content() != BuildConfig(task="x", videos=["v"], output="o", seed=1).resolved().content()


def test_nothing_is_left_to_decide_after_resolving():
    config = BuildConfig(task="x", videos=["v"], output="o", device="cpu")
    drawn, inpainted = config.resolved(), config.resolved(inpaints=True)
    assert (drawn.resolution, drawn.segment_frames, drawn.inpainter) == (256, 1000, None)
    assert (inpainted.resolution, inpainted.segment_frames, inpainted.workers) == (256, 200, 1)
    settings = inpainted.inpainter
    assert (settings.dtype, settings.shared_noise) == ("float32", "seed")
    assert settings.num_inference_steps > 0
    assert "inpainting" not in drawn.content()
    assert inpainted.content()["inpainting"] == settings.model_dump(mode="json")
    assert BuildConfig(**inpainted.content(), videos=["v"], output="o").resolved(inpaints=True).content() == (
        inpainted.content()
    )
