"""Fixtures: videos to measure, and an evaluation without worker processes."""

import sys

import numpy as np
import pytest

from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.evaluation import EvaluateObserver, evaluate
from toolkit.executor import InlineExecutor
from toolkit.testing.sample import sample_frames
from toolkit.video import VideoWriter

SIDE = 128


class Notes(EvaluateObserver):
    """Collects what an observer receives."""

    def __init__(self):
        self.count, self.order, self.sentences, self.bugs, self.said = 0, [], {}, {}, []

    def phase(self, name, total, unit, done=0):
        self.count = total

    def measured(self, name, results):
        self.order.append(name)

    def note(self, sentence):
        self.said.append(sentence)

    def failed(self, name, sentence):
        self.sentences[name] = sentence

    def bug(self, name, details):
        self.bugs[name] = details


@pytest.fixture(scope="session")
def face():
    """The sample face, uint8 ``[12, 128, 128, 3]``; not to be changed."""
    frames = sample_frames(12, SIDE)
    frames.flags.writeable = False
    return frames


@pytest.fixture(scope="session")
def write():
    """``write(path, frames)``: lossless for .mkv, otherwise H.264; creates the folder and returns the path."""

    def put(path, frames, fps=25):
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, fps=fps, lossless=path.suffix == ".mkv") as writer:
            for frame in frames:
                writer.write(frame)
        return path

    return put


@pytest.fixture(scope="session")
def spoilt(face):
    """The sample face with noise on a square of it, moving from frame to frame."""
    frames, rng = face.copy(), np.random.default_rng(0)
    for t, frame in enumerate(frames):
        frame[50 + t : 80 + t, 60:90] = rng.integers(0, 256, (30, 30, 3))
    return frames


@pytest.fixture
def measure(tmp_path):
    """``measure(original, task="glasses", ours=path, ...)``: returns the report and the observer.

    Keywords that are settings of `EvaluateConfig` are passed to it; every other keyword names a method.
    """

    def run(original, executor=None, failed=None, **words):
        settings = {key: words.pop(key) for key in list(words) if key in EvaluateConfig.model_fields}
        edited = [f"{name}={path}" for name, path in words.items()]
        defaults = {"task": "glasses", "output": tmp_path / "report", "flow": "dis", "clips": False, "identity": False}
        config = EvaluateConfig(original=original, edited=edited, **{**defaults, **settings})
        notes = Notes()
        return evaluate(config, notes, executor or InlineExecutor(), failed), notes

    return run


TASK = """
import numpy as np
from toolkit.task import AttributeTask, Measure

class Task(AttributeTask):
    name = "{name}"
    description = "A dot."
    api_version = 1
    prompt = "a face"

    def masker(self):
        def masks(clip):
            found = np.zeros(clip.frames.shape[:3], bool)
            for t in np.flatnonzero(clip.present):
                x, y = clip.landmarks[t, 1, :2].astype(int)
                found[t, y - 8 : y + 8, x - 8 : x + 8] = True
            return found
        return masks

    def pair_generator(self):
        raise NotImplementedError

    {body}
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """``plugin(name, body)``: install a distribution with one task; `body` is added to its class."""

    def put(name, body=""):
        site, module = tmp_path / "site", f"plugin_{name}"
        info = site / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[toolkit.tasks]\n{name} = {module}:Task\n")
        (site / f"{module}.py").write_text(TASK.format(name=name, body=body.replace("\n", "\n    ")))
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", str(site))
        return name

    before = set(sys.modules)
    yield put
    for name in set(sys.modules) - before:
        if name.startswith("plugin_"):
            del sys.modules[name]
