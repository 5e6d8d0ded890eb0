"""The report's folder, including its copies of videos."""

import errno
import json
import os
import weakref
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from toolkit.errors import InputError, ToolkitError
from toolkit.evaluate import writing
from toolkit.evaluate.clips import KEYFRAMES, SIDE, Clip, make_clip
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.pairing import VideoSet
from toolkit.evaluate.results import Column, Evaluation, MethodResult, VideoResult
from toolkit.evaluate.statistics import means
from toolkit.evaluate.writing import write_report
from toolkit.executor import Outcome, ProcessExecutor
from toolkit.files import staging_path
from toolkit.video import probe, read_frames

DG = Column(name="dG", label="dG", unit=0.01, digits=2, description="")


def numbered(count=20, height=96, width=128):
    """Frames whose grey level is their number."""
    return [np.full((height, width, 3), 10 + 10 * k, np.uint8) for k in range(count)]


def number(image):
    return round((float(image.mean()) - 10) / 10)


def shown(path, time):
    """The number of the frame that a player shows at `time`."""
    with closing(read_frames(path)) as frames:
        return number([frame for frame in frames if frame.time <= time + 1e-9][-1].image)


@pytest.fixture
def report(tmp_path, write):
    """``report(videos=1, methods=("ours",), **settings)``: write a report with real videos; returns the evaluation."""

    def make(videos=1, methods=("ours",), executor=None, times=None, **settings):
        names = [f"{k}.mkv" for k in range(videos)]
        for folder in ("original", *methods):
            for name in names:
                if not (tmp_path / folder / name).exists():
                    write(tmp_path / folder / name, numbered(5))
        times = times or [k / 25 for k in range(5)]
        results = [
            MethodResult(
                name=method,
                videos=[
                    VideoResult(name=name, frames=5, values={"dG": 0.1}, per_frame={"dG": [0.1, 0.2] * 2}, times=times)
                    for name in names
                ],
            )
            for method in methods
        ]
        evaluation = Evaluation(task="glasses", columns=[DG], methods=results, tools={}, means=means(results, [DG]))
        sets = [
            VideoSet(name, tmp_path / "original" / name, {method: tmp_path / method / name for method in methods})
            for name in names
        ]
        output = settings.pop("output", tmp_path / "report")
        words = [f"{method}={tmp_path / method}" for method in methods]
        config = EvaluateConfig(original=tmp_path / "original", edited=words, task="glasses", output=output, **settings)
        write_report(evaluation, config, sets, executor)
        return evaluation

    return make


def inside(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class TestCopies:
    times = (0.0, 0.04, 0.05, 0.3, 0.31, 1.0, 1.04, 1.08, 1.5, 2.5)

    def test_the_frame_at_a_time_is_that_of_the_video(self, tmp_path, write):
        source = write(tmp_path / "a.mkv", numbered(10))
        make_clip(Clip(source, tmp_path / "c.mp4", self.times))
        found = list(read_frames(tmp_path / "c.mp4"))
        assert [frame.time for frame in found] == pytest.approx(self.times, abs=1e-4)
        assert [number(frame.image) for frame in found] == list(range(10))
        ends = [*self.times[1:], self.times[-1] + 0.1]
        assert [shown(tmp_path / "c.mp4", (a + b) / 2) for a, b in zip(self.times, ends, strict=True)] == list(
            range(10)
        )

    def test_it_begins_at_0_and_its_last_frame_lasts(self, tmp_path, write):
        source = write(tmp_path / "a.mkv", numbered(10))
        make_clip(Clip(source, tmp_path / "c.mp4", tuple(7.25 + k / 10 for k in range(10))))
        assert probe(tmp_path / "c.mp4").duration == pytest.approx(1.0, abs=1e-3)
        with av.open(str(tmp_path / "c.mp4")) as container:
            assert min(packet.pts for packet in container.demux(video=0) if packet.pts is not None) == 0

    def test_an_edit_with_a_clock_of_its_own_follows_the_original(self, tmp_path, write, measure, face):
        """The original has a variable frame rate, its edit a constant one."""
        times = tuple(0.5 + time for time in self.times)
        make_clip(Clip(write(tmp_path / "o.mkv", face[:10]), tmp_path / "o.mp4", times))
        edited = write(tmp_path / "e.mkv", [frame.image for frame in read_frames(tmp_path / "o.mp4")], fps=10)
        found, _ = measure(tmp_path / "o.mp4", ours=edited, clips=True)
        measured = found.evaluation.methods[0].videos[0].times
        for copy in sorted((found.output / "clips").iterdir()):
            frames = list(read_frames(copy))
            assert [frame.time for frame in frames] == pytest.approx(np.array(measured) - measured[0], abs=1e-4)

    def test_every_picture_is_told_to_last_until_the_next(self, tmp_path, write):
        """Browsers seek by these durations, which would be wrong if pictures were decoded in another order."""
        source = write(tmp_path / "a.mkv", numbered(10))
        make_clip(Clip(source, tmp_path / "c.mp4", self.times))
        with av.open(str(tmp_path / "c.mp4")) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        assert [packet.pts for packet in packets] == [packet.dts for packet in packets]
        ends = [packet.pts + packet.duration for packet in packets]
        assert ends[:-1] == [packet.pts for packet in packets[1:]] and packets[-1].duration > 0

    @pytest.mark.parametrize(("height", "width"), [(95, 127), (2, 3), (1000, 301), (700, 1400)])
    def test_any_size(self, tmp_path, write, height, width):
        source = write(tmp_path / "a.mkv", numbered(3, height, width))
        make_clip(Clip(source, tmp_path / "c.mp4", (0.0, 0.1, 0.2)))
        info = probe(tmp_path / "c.mp4")
        assert info.width % 2 == info.height % 2 == 0 and max(info.width, info.height) <= SIDE
        assert info.width / info.height == pytest.approx(width / height, rel=0.02, abs=1)
        assert (info.codec, info.pix_fmt, info.has_audio) == ("h264", "yuv420p", False)

    def test_a_turned_video_stands_upright(self, tmp_path):
        source = _turned(tmp_path / "a.mp4")
        make_clip(Clip(source, tmp_path / "c.mp4", (0.0, 0.1)))
        info = probe(tmp_path / "c.mp4")
        assert (info.width, info.height, info.rotation) == (64, 96, 0)

    def test_one_frame(self, tmp_path, write):
        make_clip(Clip(write(tmp_path / "a.mkv", numbered(1)), tmp_path / "c.mp4", (3.0,)))
        (frame,) = read_frames(tmp_path / "c.mp4")
        assert frame.time == 0 and number(frame.image) == 0

    def test_times_that_the_clock_cannot_tell_apart(self, tmp_path, write):
        source = write(tmp_path / "a.mkv", numbered(4))
        make_clip(Clip(source, tmp_path / "c.mp4", (0.0, 1e-6, 2e-6, 2e-6)))
        assert [number(frame.image) for frame in read_frames(tmp_path / "c.mp4")] == [0, 1, 2, 3]

    def test_a_player_can_begin_often(self, tmp_path, write):
        source = write(tmp_path / "a.mkv", [frame for frame in numbered(20) for _ in range(4)])
        make_clip(Clip(source, tmp_path / "c.mp4", tuple(k / 25 for k in range(80))))
        with av.open(str(tmp_path / "c.mp4")) as container:
            keys = [k for k, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
        assert max(np.diff([*keys, 80])) <= KEYFRAMES
        data = (tmp_path / "c.mp4").read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")  # a player need not read to the end first

    def test_the_same_video_gives_the_same_copy(self, tmp_path, write):
        source = write(tmp_path / "a.mkv", numbered(6))
        for name in ("c", "d"):
            make_clip(Clip(source, tmp_path / f"{name}.mp4", tuple(k / 25 for k in range(6))))
        assert (tmp_path / "c.mp4").read_bytes() == (tmp_path / "d.mp4").read_bytes()

    def test_frames_are_streamed(self, tmp_path, write, monkeypatch):
        source, alive, most = write(tmp_path / "a.mkv", numbered(20) * 5), [], []

        def counted(*args, **words):
            for frame in read_frames(*args, **words):
                alive.append(weakref.ref(frame.image))
                most.append(sum(one() is not None for one in alive))
                yield frame
                del frame

        monkeypatch.setattr("toolkit.video.read_frames", counted, raising=False)
        make_clip(Clip(source, tmp_path / "c.mp4", tuple(k / 25 for k in range(100))))
        assert len(most) == 100 and max(most) <= 4

    def test_a_video_that_cannot_be_read(self, tmp_path):
        with pytest.raises(InputError, match=r"a\.mp4"):
            make_clip(Clip(tmp_path / "a.mp4", tmp_path / "c.mp4", (0.0,)))
        assert inside(tmp_path) == []


def _turned(path):
    """96 x 64 pixels, to be shown turned by 90 degrees."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for image in numbered(2, 64, 96):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    # the matrix in tkhd, 40 bytes after the version, set to a rotation by 90 degrees
    matrix = data.index(b"tkhd") + 4 + 40
    one, zero, last = (1 << 16).to_bytes(4, "big"), bytes(4), (1 << 30).to_bytes(4, "big")
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    data[matrix : matrix + 36] = b"".join([zero, one, zero, minus, zero, zero, zero, zero, last])
    path.write_bytes(data)
    assert probe(path).rotation in (90, 270)
    return path


class TestFolder:
    def test_all_forms(self, tmp_path, report):
        evaluation = report(videos=2, methods=("ours", "theirs"))
        found = inside(tmp_path / "report")
        assert [name for name in found if not name.startswith("clips/")] == [
            "index.html",
            "report.json",
            "table.csv",
            "table.tex",
        ]
        assert len(found) == 4 + 2 * 3
        text = (tmp_path / "report" / "report.json").read_text(encoding="utf-8")
        assert Evaluation.model_validate_json(text) == evaluation

    def test_the_page_plays_the_copies(self, tmp_path, report):
        report(methods=("ours", "Original"))
        page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
        clips = inside(tmp_path / "report" / "clips")
        assert len(clips) == 3 and all(f'data-src="clips/{name}"' in page for name in clips)

    def test_hostile_names_stay_within_the_folder(self, tmp_path, report):
        report(methods=("../../x", "a b/%2e", "ü" * 80))
        assert {path.name for path in tmp_path.iterdir()} >= {"report"}
        assert len(inside(tmp_path / "report" / "clips")) == 4
        assert all(name.isascii() and len(name) < 100 for name in inside(tmp_path / "report" / "clips"))

    @pytest.mark.skipif(os.name != "posix" or os.uname().sysname != "Linux", reason="names are not bytes here")
    def test_a_folder_whose_name_is_no_utf8(self, tmp_path, measure, write, face):
        odd = tmp_path / os.fsdecode(b"b\xff")
        odd.mkdir()
        write(tmp_path / "a.mkv", face[:2]).rename(odd / "a.mkv")
        found, _ = measure(odd, ours=odd, clips=True)
        saved = Evaluation.model_validate_json((found.output / "report.json").read_text(encoding="utf-8"))
        assert saved == found.evaluation and saved.methods[0].videos[0].edited.endswith("b\\udcff/a.mkv")
        assert len(inside(found.output / "clips")) == 2

    def test_without_copies(self, tmp_path, report):
        report(clips=False)
        assert not (tmp_path / "report" / "clips").exists()

    def test_an_older_report_is_replaced(self, tmp_path, report):
        report(videos=3)
        (tmp_path / "report" / "clips" / ".000-0-x.77.part.mp4").write_bytes(b"of a run that was stopped")
        (tmp_path / "report" / "clips" / "mine.txt").write_text("kept")
        report(videos=1)
        assert [name[:5] for name in inside(tmp_path / "report" / "clips")] == ["000-0", "000-1", "mine."]
        report(videos=1, clips=False)
        assert inside(tmp_path / "report" / "clips") == ["mine.txt"]

    def test_the_json_is_last_and_none_is_there_before(self, tmp_path, report, monkeypatch):
        report()
        written, replace = [], os.replace

        def noted(source, target):
            assert not (tmp_path / "report" / "report.json").exists()
            written.append(Path(target).name)
            replace(source, target)

        monkeypatch.setattr(os, "replace", noted)
        report()
        assert written[-2:] == ["index.html", "report.json"] and {"table.csv", "table.tex"} < set(written)

    def test_a_copy_that_cannot_be_made_is_left_out_and_noted(self, tmp_path, report):
        (tmp_path / "ours").mkdir()
        (tmp_path / "ours" / "0.mkv").write_bytes(b"no video")
        evaluation = report(methods=("ours", "theirs"))
        (note,) = evaluation.notes
        assert note.startswith("no copy of 0.mkv, ours: ")
        assert len(inside(tmp_path / "report" / "clips")) == 2
        saved = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
        assert saved["notes"] == [note]
        assert "no copy of 0.mkv, ours" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")

    def test_methods_that_failed_have_no_copy(self, tmp_path, measure, write, face):
        write(tmp_path / "o" / "a.mkv", face[:4])
        write(tmp_path / "x" / "a.mkv", face[:3])
        write(tmp_path / "y" / "a.mkv", face[:4])
        found, _ = measure(tmp_path / "o", short=tmp_path / "x", whole=tmp_path / "y", clips=True)
        assert [name[:5] for name in inside(found.output / "clips")] == ["000-0", "000-1"]
        assert "whole" in inside(found.output / "clips")[1]

    def test_processes_make_the_same_copies(self, tmp_path, report):
        report(videos=2)
        before = {name: (tmp_path / "report" / name).read_bytes() for name in inside(tmp_path / "report")}
        report(videos=2, executor=ProcessExecutor(2))
        after = {name: (tmp_path / "report" / name).read_bytes() for name in inside(tmp_path / "report")}
        assert after.keys() == before.keys()
        assert {name for name in after if after[name] != before[name]} == set()


class TestFailures:
    def sentence(self, report):
        with pytest.raises(ToolkitError) as caught:
            report()
        assert "\n" not in str(caught.value) and type(caught.value) is ToolkitError
        return str(caught.value)

    @pytest.mark.parametrize("victim", ["table.csv", "index.html", "report.json"])
    def test_a_full_disk_is_one_sentence(self, tmp_path, report, monkeypatch, victim):
        write_bytes = Path.write_bytes

        def full(path, data):
            if path == staging_path(tmp_path / "report" / victim):
                write_bytes(path, b"half")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write_bytes(path, data)

        monkeypatch.setattr(Path, "write_bytes", full)
        assert "No space left on device" in self.sentence(report)
        assert not [name for name in inside(tmp_path / "report") if "part" in name or name == "report.json"]

    def test_a_full_disk_under_a_copy(self, tmp_path, report):
        resource, signal = pytest.importorskip("resource"), pytest.importorskip("signal")
        report(clips=False)  # creates the videos
        limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1200, limits[1]))
        try:
            sentence = self.sentence(report)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        assert "free space" in sentence
        assert inside(tmp_path / "report") == ["table.csv", "table.tex"]

    def test_a_worker_that_died_costs_copies_only(self, tmp_path, report):
        class Dead:
            def run(self, function, items):
                for item in items:
                    yield Outcome(item, error=ToolkitError("its worker process was ended by SIGKILL"))

        report(executor=Dead())
        assert "SIGKILL" in (tmp_path / "report" / "report.json").read_text()

    def test_a_file_where_the_folder_should_be(self, tmp_path, report):
        (tmp_path / "report").write_text("mine")
        assert "report" in self.sentence(report)
        assert (tmp_path / "report").read_text() == "mine"


def test_names_of_copies_are_those_that_are_cleared():
    assert writing._CLIP.fullmatch("000-0-a.mp4") and writing._CLIP.fullmatch(".1234-0-a.12.part.mp4")
    assert not writing._CLIP.fullmatch("holiday.mp4")
