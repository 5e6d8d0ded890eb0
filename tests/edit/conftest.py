"""Small videos of the sample face with sound, a tiny backbone, and removers for it."""

from fractions import Fraction

import av
import numpy as np
import pytest

from toolkit.edit import EditConfig
from toolkit.testing import tiny_backbone, tiny_remover
from toolkit.testing.sample import sample_frames

SIDE = 192


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """Folder of a tiny backbone with a motion adapter; not to be changed."""
    return tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny", text=False, vae="tiny")


@pytest.fixture(scope="session")
def make_remover(tmp_path_factory, backbone):
    """``make_remover("stickers")`` writes a remover with random weights and returns its folder."""

    def make(*tasks, resolution=64, seed=0, backbone=backbone):
        folder = tmp_path_factory.mktemp("remover") / "-".join(tasks)
        return tiny_remover(folder, backbone, tasks, resolution, seed)

    return make


@pytest.fixture(scope="session")
def remover(make_remover):
    """A remover of stickers; `settings` makes their masks the skin, so it edits every face."""
    return make_remover("stickers")


@pytest.fixture(scope="session")
def glasses_remover(make_remover):
    """A remover of glasses, whose masks are empty on the bare sample face."""
    return make_remover("glasses", seed=1)


@pytest.fixture(scope="session")
def faces():
    """uint8 ``[24, 192, 192, 3]``: the sample face."""
    return sample_frames(24, SIDE)


@pytest.fixture(scope="session")
def write_video():
    """A function that writes frames as a video, by default with a tone, and returns the path."""

    def write(path, frames, ticks=None, sound=True, **options):
        """H.264 with a tone; `ticks` are presentation times in milliseconds."""
        ticks = ticks or [40 * index for index in range(len(frames))]
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            context = stream.codec_context
            context.height, context.width = frames[0].shape[:2]
            context.pix_fmt, context.thread_count = "yuv420p", 1
            context.options = {"crf": "10", **options}
            context.time_base = stream.time_base = Fraction(1, 1000)
            tone = container.add_stream("aac", rate=16000, layout="mono") if sound else None
            for tick, image in zip(ticks, frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
                frame.pts, frame.time_base = tick, Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if sound:
                count = 16 * (ticks[-1] + 40)
                wave = (np.sin(np.arange(count) * 0.17) * 9000).astype(np.int16)
                for start in range(0, count, 1024):
                    piece = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "s16", "mono")
                    piece.sample_rate, piece.pts = 16000, start
                    container.mux(tone.encode(piece))
                container.mux(tone.encode(None))
        return path

    return write


@pytest.fixture(scope="session")
def video(tmp_path_factory, write_video, faces):
    """The sample face, 24 frames at uneven times, with sound; not to be changed."""
    ticks = np.cumsum([0, *(40 + 7 * (k % 3) for k in range(23))]).tolist()
    return write_video(tmp_path_factory.mktemp("videos") / "face.mp4", faces, ticks)


SKIN = {"stickers": {"masker": "skin"}}
"""Options with which a remover of stickers sees every face: its masks are the skin, and the sample face is bare."""
ANY_CHANGE = {"min_change": 0, "min_peak_change": 0}
"""Settings with which an edit pastes whatever a remover changed. One with random weights changes little."""


@pytest.fixture(scope="session")
def everywhere():
    """Settings with which a remover of stickers edits every face."""
    return {"options": SKIN, "masking": ANY_CHANGE}


@pytest.fixture
def settings(backbone, remover):
    """A function that builds the config of a fast edit; groups are dicts. Removers of stickers edit every face."""

    def make(**changed):
        values = {
            "remover": [remover],
            "backbone": str(backbone),
            "device": "cpu",
            "denoising": {"num_inference_steps": 2},
            "masking": ANY_CHANGE,
            "writing": {"lossless": True},
        }
        for name, value in changed.items():
            values[name] = values[name] | value if isinstance(value, dict) and name in values else value
        if any("stickers" in str(name) for name in [*values["remover"], *values.get("task", [])]):
            values.setdefault("options", SKIN)
        return EditConfig.model_validate(values)

    return make
