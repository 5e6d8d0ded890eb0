"""Unusable files raise a one-sentence error, never a traceback and never a silently wrong frame."""

import os
from itertools import islice

import av
import numpy as np
import pytest

from toolkit.errors import InputError
from toolkit.video import probe, read_frames


def sentence(error):
    """The message; checks that it is one line that ends with advice."""
    text = str(error.value)
    assert "\n" not in text and (";" in text)
    return text


def both(path):
    with pytest.raises(InputError) as error:
        probe(path)
    with pytest.raises(InputError) as again:
        list(read_frames(path))
    assert str(error.value) == str(again.value) and str(path) in str(error.value)
    return sentence(error)


def test_missing_folder_and_empty(tmp_path):
    assert "there is none" in both(tmp_path / "none.mp4")
    assert "is a folder" in both(tmp_path)
    (tmp_path / "empty.mp4").touch()
    assert "is empty" in both(tmp_path / "empty.mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path, small_mp4):
    path = tmp_path / "a.mp4"
    path.write_bytes(small_mp4.read_bytes())
    path.chmod(0)
    assert "permission is denied" in both(path)


def test_no_permission_is_reported(small_mp4, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert "permission is denied" in both(small_mp4)


def test_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "pipe" in both(tmp_path / "pipe.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.avi", "a.mkv", "a.gif", "a.mpg"])
@pytest.mark.parametrize("text", ["hello\n", "This is a text, not a video.\n" * 500, "#EXTM3U\n#EXTINF:1,\nx.ts\n"])
def test_text(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert "expected a video" in both(path)


def test_playlist_reads_no_other_file(tmp_path, small_mp4):
    path = tmp_path / "a.mp4"
    path.write_text(f"ffconcat version 1.0\nfile '{small_mp4}'\n")
    both(path)


def test_audio_only(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "audio only" in both(path)


def test_no_frames(tmp_path, small_mp4):
    with av.open(str(small_mp4)) as source, av.open(str(tmp_path / "a.mkv"), "w") as target:
        target.add_stream_from_template(source.streams.video[0])
        target.start_encoding()
    both(tmp_path / "a.mkv")


def test_index_at_the_end_is_cut_off(tmp_path, small_mp4):
    data = small_mp4.read_bytes()
    assert data.index(b"mdat") < data.index(b"moov")
    path = tmp_path / "a.mp4"
    path.write_bytes(data[: len(data) // 2])
    assert "truncated" in both(path)


@pytest.fixture(scope="module")
def long_frames(picture):
    rng = np.random.default_rng(0)
    return [np.clip(picture(128, 96, t) + rng.normal(0, 12, (96, 128, 3)), 0, 255).astype(np.uint8) for t in range(30)]


KINDS = [
    ("a.mp4", "libx264", {"g": 10}),
    ("a.mov", "mjpeg", {"pix_fmt": "yuvj420p"}),
    ("a.avi", "mpeg4", {"qmin": 2, "qmax": 3}),
    ("a.webm", "libvpx-vp9", {"deadline": "realtime"}),
    ("a.mkv", "libx264", {"g": 10}),
    ("a.mkv", "ffv1", {"pix_fmt": "yuv444p"}),
]


@pytest.fixture
def sound(tmp_path, make_video, long_frames):
    """``sound(name, codec, options)``: the bytes of a sound video with its index in front."""

    def make(name, codec, options):
        path = make_video(tmp_path / f"whole-{name}", long_frames, codec, **options)
        if not name.endswith(("mp4", "mov")):
            return path.read_bytes()
        first = tmp_path / f"first-{name}"
        with av.open(str(path)) as source, av.open(str(first), "w", options={"movflags": "faststart"}) as target:
            stream = source.streams.video[0]
            copy = target.add_stream_from_template(stream)
            for packet in source.demux(stream):
                if packet.size:
                    packet.stream = copy
                    target.mux(packet)
        return first.read_bytes()

    return make


@pytest.mark.parametrize("name, codec, options", KINDS)
def test_cut_in_half(tmp_path, sound, name, codec, options):
    data = sound(name, codec, options)
    path = tmp_path / name
    path.write_bytes(data[: len(data) // 2])
    given, notes = [], []
    with pytest.raises(InputError) as error:
        given.extend(frame.index for frame in read_frames(path, strict=True))
    assert f"frame {len(given)}" in sentence(error) and 5 <= len(given) < 25
    # Frames before the damage can be read.
    assert len(list(read_frames(path, stop=len(given), strict=True))) == len(given)
    last = [frame.time for frame in read_frames(path, on_note=notes.append)][-1]
    assert f"cut off at {last:.2f} s" in next(note.sentence for note in notes if note.kind == "cut off")


def test_a_recording_that_states_no_length_is_not_cut_off(tmp_path, sound):
    data = bytearray(sound("a.avi", "mpeg4", {}))
    data[4:8] = b"\xff" * 4
    (tmp_path / "a.avi").write_bytes(data)
    assert len(list(read_frames(tmp_path / "a.avi"))) == 30

    data = bytearray(sound("a.mkv", "libx264", {}))
    length = data.index(b"\x18\x53\x80\x67") + 4
    data[length : length + 8] = b"\x01" + b"\xff" * 7
    (tmp_path / "a.mkv").write_bytes(data)
    assert len(list(read_frames(tmp_path / "a.mkv"))) == 30


@pytest.mark.parametrize("name, codec, options", [kind for kind in KINDS if kind[1] in ("libx264", "ffv1")])
def test_damage_in_the_middle(tmp_path, sound, name, codec, options):
    data = bytearray(sound(name, codec, options))
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    path = tmp_path / name
    path.write_bytes(data)
    given, notes = [], []
    with pytest.raises(InputError) as error:
        given.extend(frame.index for frame in read_frames(path, strict=True))
    assert "frame" in sentence(error) and 3 <= len(given) < 27
    frames = list(read_frames(path, on_note=notes.append))
    assert len(frames) >= 20 and (np.diff([frame.time for frame in frames]) > 0).all()
    assert all(abs(note.start - len(given)) < 3 for note in notes[:1]) and notes[0].kind == "damaged frames"
    again = list(read_frames(path, max_side=48))
    assert [frame.time for frame in again] == [frame.time for frame in frames]


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes_decode_or_are_refused(tmp_path, small_mp4, seed):
    rng = np.random.default_rng(seed)
    data = np.frombuffer(small_mp4.read_bytes(), np.uint8).copy()
    # Half of the trials damage the index, where a wrong number does most harm.
    low = bytes(data).index(b"moov") if seed % 2 else 0
    places = rng.integers(low, len(data), rng.integers(1, 20))
    data[places] ^= rng.integers(1, 256, len(places)).astype(np.uint8)
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    try:
        probe(path)
        for frame in islice(read_frames(path, max_side=512), 100):
            assert frame.image.dtype == np.uint8 and np.isfinite(frame.time)
    except InputError as error:
        assert "\n" not in str(error)
