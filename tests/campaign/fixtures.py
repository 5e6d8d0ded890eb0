"""Small inputs, made once in a folder: videos, a backbone, removers, datasets, a task and settings of quick runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from fractions import Fraction
from pathlib import Path

SIDE, FRAMES = 128, 16

PLUGIN = '''
"""A task that draws a dot on the nose."""
import numpy as np
from toolkit.task import AttributeTask, Pair


class Dotty(AttributeTask):
    name = "dotty"
    description = "A dot on the nose."
    api_version = 1
    prompt = "a face without a dot"

    def masker(self):
        return lambda clip: np.zeros(clip.frames.shape[:3], bool)

    def pair_generator(self):
        return self._pairs

    def _pairs(self, clip, rng, tools):
        colour = rng.integers(0, 256, 3, dtype=np.uint8)
        height, width = clip.frames.shape[1:3]
        y, x = np.mgrid[:height, :width]
        for index in np.flatnonzero(clip.present):
            nose = clip.landmarks[index, 4, :2]
            mask = (x - nose[0]) ** 2 + (y - nose[1]) ** 2 < (0.1 * width) ** 2
            edited = clip.frames[index].copy()
            edited[mask] = colour
            yield Pair(clip.frames[index], edited, mask, int(index), {"red": int(colour[0])})
'''


class Fixtures:
    """The folder of inputs. Commands read them and must not change them."""

    def __init__(self, root: Path):
        self.root = root
        self.video, self.second = root / "videos" / "a.mp4", root / "videos" / "b.mp4"
        self.videos = root / "videos"
        self.edited = root / "edited"
        self.backbone, self.remover = root / "backbone", root / "remover"
        self.text_backbone = root / "text-backbone"
        self.dataset, self.shards = root / "dataset", root / "shards"
        self.site = root / "site"

    def settings(self, **changed) -> dict:
        """Values of ``edit --config`` for a quick edit."""
        return {
            "remover": [str(self.remover)],
            "backbone": str(self.backbone),
            "device": "cpu",
            "denoising": {"num_inference_steps": 2},
            "options": {"stickers": {"masker": "skin"}},  # the sample face is bare
            "crop": {"min_face": 16},
            "masking": {"min_change": 0, "min_peak_change": 0},  # the tiny remover changes little
            "writing": {"lossless": True},
            **changed,
        }

    def edit(self, video: Path | str, output: Path | str) -> list[str]:
        """Words of an edit, with settings from a file."""
        return ["edit", str(video), str(output), "--config", str(self.root / "edit.json")]

    def finetune(self, data: Path, output: Path | str, steps: int = 3) -> list[str]:
        """Words of a training of a few steps."""
        return [
            *("finetune", "--data", str(data), "--output", str(output), "--backbone", str(self.text_backbone)),
            *("--cpu", "--report-to", "none", "--train-batch-size", "2", "--max-train-steps", str(steps)),
            *("--checkpointing-steps", "1", "--validation-steps", "1", "--validation-samples", "2"),
            *("--num-inference-steps", "1", "--learning-rate", "1e-3"),
        ]

    def build(self, videos: Path, output: Path | str, task: str = "dotty", workers: int = 1) -> list[str]:
        """Words of a build of a few shards."""
        return [
            *("build-dataset", "--task", task, "--videos", str(videos), "--output", str(output)),
            *("--resolution", "64", "--clip-length", "8", "--min-clip-length", "4", "--segment-frames", "8"),
            *("--validation-fraction", "0.5", "--min-face", "16", "--workers", str(workers)),
        ]

    def evaluate(self, original: Path, edited: Path, output: Path | str, workers: int = 1) -> list[str]:
        """Words of a short evaluation."""
        return [
            *("evaluate", "--original", str(original), "--output", str(output), "--task", "stickers"),
            *("--flow", "dis", "--no-identity", "--workers", str(workers), "--edited", f"m={edited}"),
        ]

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that keep a command inside its folder, and make the plugin known."""
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        return {"HOME": str(home), "TMPDIR": str(home / "tmp"), "XDG_CACHE_HOME": str(home / "cache")}


def make(root: Path) -> Fixtures:
    """Make the inputs, unless an earlier call has made them all."""
    made, version = Fixtures(root), hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    complete = root / "complete"
    if complete.exists() and complete.read_text() == version:
        return made
    shutil.rmtree(root, ignore_errors=True)
    made.videos.mkdir(parents=True)
    from toolkit.testing import drawn_dataset, tiny_backbone, tiny_remover
    from toolkit.testing.sample import sample_frames
    from toolkit.video import VideoWriter

    frames = sample_frames(FRAMES, SIDE)
    write_video(made.video, frames)
    write_video(made.second, frames[::-1])
    _write_sources(root / "sources", frames)
    _write_models(root / "models")
    made.edited.mkdir()
    for path in (made.video, made.second):
        with VideoWriter(made.edited / f"{path.stem}.mkv", fps=25, lossless=True) as writer:
            for frame in frames if path == made.video else frames[::-1]:
                changed = frame.copy()
                changed[50:60, 50:80] //= 2
                writer.write(changed)
    tiny_backbone(made.backbone, text=False, vae="tiny")
    tiny_backbone(made.text_backbone, seed=1)
    tiny_remover(made.remover, made.backbone)
    drawn_dataset(made.dataset, frames=2)
    drawn_dataset(made.shards, frames=2, format="webdataset")
    info = made.site / "dotty-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dotty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[toolkit.tasks]\ndotty = dotty:Dotty\n")
    (made.site / "dotty.py").write_text(PLUGIN)
    (root / "edit.json").write_text(json.dumps(made.settings()))
    complete.write_text(version)
    return made


def write_video(path: Path, frames, container_format: str | None = None, sound: bool = True) -> Path:
    """Write H.264 with a tone."""
    import av
    import numpy as np

    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream("libx264", rate=25)
        context = stream.codec_context
        context.height, context.width = frames[0].shape[:2]
        context.pix_fmt, context.thread_count, context.options = "yuv420p", 1, {"crf": "12", "g": "8"}
        tone = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            wave = (np.sin(np.arange(640 * len(frames)) * 0.17) * 9000).astype(np.int16)
            for start in range(0, len(wave), 1024):
                piece = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "s16", "mono")
                piece.sample_rate, piece.pts = 16000, start
                container.mux(tone.encode(piece))
            container.mux(tone.encode(None))
    return path


def sources(made: Fixtures) -> list[Path]:
    """Short videos in several containers and codecs."""
    return sorted((made.root / "sources").iterdir())


def _write_sources(folder: Path, frames) -> None:
    import av
    import numpy as np

    folder.mkdir()
    first = write_video(folder / "a.mp4", frames)
    write_video(folder / "bare.mp4", frames, sound=False)
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    for name, options in (("a.mov", {}), ("a.mkv", {}), ("a.ts", {}), ("fragments.mp4", fragments), ("a.flv", {})):
        with av.open(str(first)) as source, av.open(str(folder / name), "w", options=options) as target:
            copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copies[packet.stream.index]
                    target.mux(packet)
    for name, codec, pixels in (
        ("m.avi", "mjpeg", "yuvj420p"),
        ("v.webm", "libvpx", "yuv420p"),
        ("f.mkv", "ffv1", "yuv444p"),
    ):
        with av.open(str(folder / name), "w") as target:
            stream = target.add_stream(codec, rate=25)
            stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
            stream.codec_context.thread_count = 1
            for index, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))


def _write_models(folder: Path) -> None:
    """Tiny morphable models: the mean face with random directions, in the layouts of three publishers."""
    import h5py
    import numpy as np
    from scipy.io import savemat

    from toolkit.faces.topology import load_topology

    folder.mkdir()
    topology, rng = load_topology("mediapipe478"), np.random.default_rng(0)
    mean = topology.mean[:468].astype(np.float64) * 90 * [1, -1, -1]
    identity, expression = (np.linalg.qr(rng.normal(size=(mean.size, count)))[0] for count in (4, 3))
    names = {"center.nose.tip": 1, "right.eye.corner_outer": 33, "left.eye.corner_outer": 263}
    names |= {
        "right.eye.corner_inner": 133,
        "left.eye.corner_inner": 362,
        "right.lips.corner": 61,
        "left.lips.corner": 291,
    }
    points = [{"id": name, "coordinates": mean[index].tolist()} for name, index in names.items()]
    with h5py.File(folder / "model2017-1_face12_nomouth.h5", "w") as file:
        for part, basis in (("shape", identity), ("expression", expression)):
            file[f"{part}/model/mean"] = (mean.ravel() * (part == "shape")).astype(np.float32)
            file[f"{part}/model/pcaBasis"] = basis.astype(np.float32)
            file[f"{part}/model/pcaVariance"] = np.full(basis.shape[1], 400, np.float32)
        file["shape/representer/points"] = mean.T.astype(np.float32)
        file["shape/representer/cells"] = topology.triangles.T.astype(np.int32)
        file.create_dataset("metadata/landmarks/json", data=[json.dumps(points)], dtype=h5py.string_dtype())
    savemat(
        folder / "01_MorphableModel.mat",
        {
            "shapeMU": (mean.reshape(-1, 1) * 1000).astype(np.float32),
            "shapePC": identity.astype(np.float32),
            "shapeEV": np.full((4, 1), 20_000, np.float32),
            "tl": (topology.triangles[:, [0, 2, 1]] + 1).astype(np.float64),
        },
    )
    np.savez(
        folder / "ict.npz",
        neutral=mean.astype(np.float32) / 10,
        identity=identity.T.reshape(4, -1, 3).astype(np.float32),
        expression=expression.T.reshape(3, -1, 3).astype(np.float32),
        faces=topology.triangles.astype(np.int64),
    )


def tree(root: Path) -> dict[str, str]:
    """Relative path -> what it is: a folder, a link, or the digest of a file."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = hashlib.sha256(stable(path)).hexdigest()[:16]
    return found


VOLATILE = ("seconds", "fps", "stages", "resumed", "elapsed", "duration_seconds", "created", "date", "time_taken")
"""Keys in reports that tell how long a run took, and whether it was resumed."""


def stable(path: Path) -> bytes:
    """The content of a file without what differs between equal runs."""
    data = path.read_bytes()
    if path.suffix != ".json":
        return data
    try:
        return json.dumps(_without_times(json.loads(data)), sort_keys=True).encode()
    except ValueError:
        return data


def _without_times(value):
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    return value
