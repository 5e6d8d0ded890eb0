"""Videos of a person with and without glasses, made from the sample clip."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def bare_video(tmp_path_factory):
    """16 frames of the sample, 256x256, no glasses."""
    from toolkit.testing.sample import write_sample_video

    return write_sample_video(tmp_path_factory.mktemp("bare") / "bare.mp4", frames=16, size=256)


@pytest.fixture(scope="session")
def worn_clip():
    """A function of a design: 16 whole frames of the sample, 256x256, with rendered glasses of that design."""
    from dataclasses import replace

    from attributes.glasses.drawing import GlassesDrawer
    from toolkit.faces import create_analyser
    from toolkit.task import FaceClip
    from toolkit.testing.sample import sample_frames

    frames = sample_frames(16, 256)
    analyser = create_analyser("mediapipe", max_faces=1)
    landmarks = np.stack([analyser.analyse(frame)[0].landmarks for frame in frames]).astype(np.float32)
    analyser.close()
    clip = FaceClip(frames, landmarks, analyser.topology, np.arange(16) / 25)

    def wear(design):
        return replace(clip, frames=GlassesDrawer().draw(clip, design, np.random.default_rng(3)).frames)

    return wear


@pytest.fixture(scope="session")
def worn_video(worn_clip, tmp_path_factory):
    """A function of a design: the video of `worn_clip`."""
    from toolkit.video import VideoWriter

    def write(design):
        path = tmp_path_factory.mktemp("worn") / "worn.mp4"
        with VideoWriter(path, fps=25) as writer:
            for frame in worn_clip(design).frames:
                writer.write(frame)
        return path

    return write
