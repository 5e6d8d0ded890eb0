"""Damaged and hostile inputs: each ends with one sentence, in time and in little memory, and touches nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaign import mutators, server
from tests.campaign.fixtures import Fixtures, sources
from toolkit.files import sha256_of

CODES = (0, 1, 2, 3)
SHARES = {
    "videos": 0.3,
    "datasets": 0.18,
    "removers": 0.12,
    "backbones": 0.1,
    "configs": 0.12,
    "face models": 0.06,
    "stickers": 0.05,
    "masks": 0.03,
    "plugins": 0.04,
}
"""Kind of input -> its share of all trials."""


class Canary:
    """A file that code would create if it ran, and a call that creates it."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Mutations:
    """Makes one damaged input after the other, and runs a command on it.

    Args:
        fixtures: the sound inputs.
        folder: where copies of them are damaged, and where commands write.
    """

    def __init__(self, fixtures: Fixtures, folder: Path):
        self._fixtures, self._folder = fixtures, folder
        self._kinds: dict[str, Callable[[Path, random.Random], list[str]]] = {
            "videos": self._video,
            "datasets": self._dataset,
            "removers": self._remover,
            "backbones": self._backbone,
            "configs": self._config,
            "face models": self._face_model,
            "stickers": self._sticker,
            "masks": self._mask,
            "plugins": self._plugin,
        }

    def prepare(self, kind: str, seed: int) -> tuple[list[str], Path]:
        """Damage an input; returns a command and the folder to run it in."""
        rng = random.Random(f"{kind} {seed}")
        # Deep, so that paths that climb stay where they are found.
        root = self._folder / "trial"
        shutil.rmtree(root, ignore_errors=True)
        inputs, run = root / "a" / "b" / "in", root / "a" / "b" / "run"
        inputs.mkdir(parents=True)
        run.mkdir()
        return self._kinds[kind](inputs, rng), run

    def run(self, kind: str, seed: int) -> dict:
        """Run a command on a damaged input; returns a record."""
        words, folder = self.prepare(kind, seed)
        before = _listing(self._folder / "trial", folder)
        site = folder.parent / "in" / "site"
        environment = self._fixtures.environment(self._folder / "home")
        ended = server.run(words, folder, environment=environment, before=lambda: _enter(site))
        finds = judge(ended)
        after = _listing(self._folder / "trial", folder)
        outside = {name for name in before.keys() ^ after.keys() if name not in _EXPECTED}
        outside |= {name for name in before.keys() & after.keys() if before[name] != after[name]}
        finds += [f"outside its folder: {', '.join(sorted(outside)[:5])}"] if outside else []
        if kind == "plugins":
            finds = [find for find in finds if "canary" not in find]  # a plugin is code
        shutil.rmtree(self._folder / "home" / "tmp", ignore_errors=True)
        return {
            "group": kind,
            "count": 1,
            "seed": seed,
            "command": " ".join(words).replace(str(self._folder), ""),
            "code": ended.code,
            "seconds": round(ended.seconds, 2),
            "peak_mib": ended.peak >> 20,
            "said": ended.err.strip()[-300:],
            "finds": finds,
            "where": where(ended),
        }

    # kinds of input

    def _video(self, inputs: Path, rng: random.Random) -> list[str]:
        made = sources(self._fixtures)
        source = rng.choice(made)
        data = source.read_bytes()
        match rng.randrange(8):
            case 0:
                data = data + rng.choice(made).read_bytes()
            case 1:
                cut = rng.randrange(len(data))
                data = data[:cut] + rng.choice(made).read_bytes()[cut:]
            case 2 | 3 | 4 if source.suffix in (".mp4", ".mov"):
                for _ in range(rng.choice((1, 1, 2, 4))):
                    data = mutators.boxes(data, rng)
            case _:
                data = mutators.damage(data, rng)
        suffix = source.suffix if rng.random() < 0.9 else rng.choice((".mp4", ".mkv", ".ts", ".avi"))
        video = inputs / f"v{suffix}"
        video.write_bytes(data)
        which = rng.randrange(10)
        if which < 6:
            return self._fixtures.edit(video, "out" + rng.choice((".mkv", ".mkv", ".mp4")))[:3] + self._settings(inputs)
        if which < 8:
            shutil.copy(self._fixtures.video, inputs / "good.mp4")
            return self._fixtures.build(inputs, "out")
        pair = (video, self._fixtures.edited / "a.mkv") if which == 8 else (self._fixtures.video, video)
        return self._fixtures.evaluate(*pair, "out")

    def _settings(self, inputs: Path) -> list[str]:
        path = inputs / "edit.json"
        lossless = {"lossless": True, "compare": "side"}
        path.write_text(json.dumps(self._fixtures.settings(writing=lossless)))
        return ["--config", str(path)]

    def _dataset(self, inputs: Path, rng: random.Random) -> list[str]:
        source = rng.choice((self._fixtures.dataset, self._fixtures.shards))
        root = inputs / "data"
        shutil.copytree(source, root)
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "preview.png")
        special = [path for path in files if path.suffix in (".json", ".jsonl", ".tar", ".md")]
        for _ in range(rng.choice((1, 1, 2))):
            path = rng.choice(special if rng.random() < 0.7 else files)
            self._change_file(path, rng, inputs)
        if rng.random() < 0.5:
            _sign_dataset(root)
        return self._use_dataset(root, rng)

    def _use_dataset(self, root: Path, rng: random.Random) -> list[str]:
        match rng.randrange(6):
            case 0 | 1:
                return ["dataset", "check", str(root)]
            case 2:
                return ["dataset", "show", str(root), "--output", "sheet.png"]
            case 3:
                return ["dataset", "videos", str(root), "out"]
            case _:
                return self._fixtures.finetune(root, "out", steps=1)

    def _mask(self, inputs: Path, rng: random.Random) -> list[str]:
        root = inputs / "data"
        shutil.copytree(self._fixtures.dataset, root)
        masks = sorted(path for path in root.rglob("*.png") if "mask" in path.as_posix())
        for path in rng.sample(masks, min(len(masks), rng.choice((1, 4)))):
            path.write_bytes(rng.choice((mutators.png, mutators.damage))(path.read_bytes(), rng))
        _sign_dataset(root)
        return self._use_dataset(root, rng)

    def _remover(self, inputs: Path, rng: random.Random) -> list[str]:
        root = inputs / "remover"
        shutil.copytree(self._fixtures.remover, root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        for _ in range(rng.choice((1, 1, 2))):
            self._change_file(rng.choice(files), rng, inputs)
        if rng.random() < 0.6:
            _sign_remover(root)
        match rng.randrange(5):
            case 0:
                return ["removers", str(inputs)]
            case 1:
                return ["removers", "--card", str(root)]
            case _:
                path = inputs / "edit.json"
                path.write_text(json.dumps(self._fixtures.settings(remover=[str(root)])))
                return ["edit", str(self._fixtures.video), "out.mkv", "--config", str(path)]

    def _backbone(self, inputs: Path, rng: random.Random) -> list[str]:
        root = inputs / "backbone"
        shutil.copytree(self._fixtures.backbone, root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        special = [path for path in files if path.suffix == ".json"]
        for _ in range(rng.choice((1, 1, 2))):
            self._change_file(rng.choice(special if rng.random() < 0.6 else files), rng, inputs)
        if rng.random() < 0.3:
            return [*self._fixtures.finetune(self._fixtures.dataset, "out", steps=1), "--backbone", str(root)]
        path = inputs / "edit.json"
        path.write_text(json.dumps(self._fixtures.settings(remover=["inpaint:stickers"], backbone=str(root))))
        return ["edit", str(self._fixtures.video), "out.mkv", "--config", str(path)]

    def _config(self, inputs: Path, rng: random.Random) -> list[str]:
        made = self._fixtures
        verbs = {
            "edit": (made.settings(seed=3, options={}), [str(made.video), "out.mkv"]),
            "finetune": (
                {
                    "data": [str(made.dataset)],
                    "backbone": str(made.text_backbone),
                    "cpu": True,
                    "report_to": "none",
                    "max_train_steps": 1,
                    "optimisation": {"train_batch_size": 2, "learning_rate": 1e-3},
                    "validation": {"validation_samples": 1, "num_inference_steps": 1, "validation_steps": 1},
                },
                ["--output", "out"],
            ),
            "build-dataset": (
                {
                    "task": "dotty",
                    "videos": [str(made.video)],
                    "resolution": 64,
                    "clip_length": 8,
                    "min_clip_length": 4,
                    "min_face": 16,
                    "workers": 1,
                    "faces": {"max_faces": 2},
                    "options": {},
                },
                ["--output", "out"],
            ),
            "evaluate": (
                {
                    "original": str(made.video),
                    "edited": [f"m={made.edited / 'a.mkv'}"],
                    "task": "stickers",
                    "flow": "dis",
                    "identity": False,
                    "workers": 1,
                    "clip_length": 8,
                },
                ["--output", "out"],
            ),
        }
        verb = rng.choice(sorted(verbs))
        settings, rest = verbs[verb]
        path = inputs / rng.choice(("c.json", "c.json", "c.yaml"))
        path.write_bytes(mutators.json_text(json.dumps(settings).encode(), rng))
        return [verb, *rest, "--config", str(path)]

    def _face_model(self, inputs: Path, rng: random.Random) -> list[str]:
        source = rng.choice(sorted((self._fixtures.root / "models").iterdir()))
        path = inputs / source.name
        data = source.read_bytes()
        path.write_bytes(data)
        if rng.random() < 0.4 and source.suffix != ".mat":
            _change_arrays(path, rng)
        else:
            path.write_bytes(mutators.damage(data, rng))
        words = self._fixtures.build(self._fixtures.video, "out", task="stickers")
        return [*words, "--task-option", f"face_model={path}"]

    def _sticker(self, inputs: Path, rng: random.Random) -> list[str]:
        from PIL import Image

        art = inputs / "art"
        art.mkdir()
        for number in range(rng.choice((1, 2))):
            mode = rng.choice(("RGBA", "LA", "P"))
            picture = Image.effect_noise((24 + 8 * number, 24), 90).convert("RGBA")
            picture.putalpha(200)
            picture.convert(mode).save(art / f"{number}.png", **({"transparency": 3} if mode == "P" else {}))
        path = art / "0.png"
        path.write_bytes(rng.choice((mutators.png, mutators.damage))(path.read_bytes(), rng))
        if rng.random() < 0.2:
            path.rename(art / rng.choice(("x.webp", "a\nb.png", "[red].png", "-.png")))
        return [*self._fixtures.build(self._fixtures.video, "out", task="stickers"), "--task-option", f"art={art}"]

    def _plugin(self, inputs: Path, rng: random.Random) -> list[str]:
        info = inputs / "site" / "other-2.0.dist-info"
        info.mkdir(parents=True)
        name = rng.choice(("other", "dotty", "glasses", "-x", "a b", "é", "a" * 300, "[red]x[/red]", "a.b:c"))
        value = rng.choice(
            ("other:Other", "other", "other:", ":x", "os:system", "no.such:Y", "other:a.b.c", "tests\x00:x", "")
        )
        points = f"[toolkit.tasks]\n{name} = {value}\n".encode()
        metadata = b"Metadata-Version: 2.1\nName: other\nVersion: 2.0\n"
        module = (
            (self._fixtures.site / "dotty.py").read_bytes().replace(b"Dotty", b"Other").replace(b'"dotty"', b'"other"')
        )
        if rng.random() < 0.5:
            points = mutators.damage(points, rng)
        if rng.random() < 0.3:
            metadata = mutators.damage(metadata, rng)
        if rng.random() < 0.4:
            bodies = (
                b"raise SystemExit(3)",
                b"import nothing_such",
                b"1/0",
                b"def",
                b"\0",
                b"class Other: pass",
                b"Other = 3",
            )
            module = rng.choice((*bodies, mutators.damage(module, rng)))
        (info / "entry_points.txt").write_bytes(points)
        if rng.random() < 0.9:
            (info / "METADATA").write_bytes(metadata)
        (inputs / "site" / "other.py").write_bytes(module)
        asked = name if name.isascii() and not name.startswith("-") else "other"
        return rng.choice(
            (
                ["tasks", "list"],
                ["tasks", "show", asked],
                ["doctor"],
                self._fixtures.build(self._fixtures.video, "out", task=asked),
                self._fixtures.build(self._fixtures.video, "out"),
            )
        )

    def _change_file(self, path: Path, rng: random.Random, inputs: Path) -> None:
        """Damage a file in a way that suits its format; or replace it by a link, a pickle, a folder or nothing."""
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 24:
            return  # changed already
        data, choice = path.read_bytes(), rng.random()
        if choice < 0.04:
            path.unlink()
        elif choice < 0.08:
            path.unlink()
            path.symlink_to(rng.choice(("/etc/passwd", "../../../canary", str(inputs), "/dev/zero", "/proc/self/mem")))
        elif choice < 0.12:
            code = pickle.dumps(Canary(inputs.parents[2] / "canary"))
            name = rng.choice(
                (path.name, "diffusion_pytorch_model.bin", "pytorch_model.bin", "model.ckpt", "x.pt", "x.py")
            )
            path.with_name(name).write_bytes(code)
        elif choice < 0.14:
            path.unlink()
            path.mkdir()
        elif choice < 0.16:
            os.truncate(path, 3 << 30)
        elif path.suffix == ".json":
            path.write_bytes(mutators.json_text(data, rng))
        elif path.suffix == ".jsonl":
            lines = data.splitlines() or [b"{}"]
            at = rng.randrange(len(lines))
            lines[at] = mutators.json_text(lines[at], rng)
            path.write_bytes(b"\n".join(lines) + b"\n")
        elif path.suffix == ".safetensors" and len(data) > 8:
            path.write_bytes(mutators.safetensors(data, rng))
        elif path.suffix == ".tar" and tarfile.is_tarfile(path):
            path.write_bytes(mutators.tar(data, rng))
        elif path.suffix == ".png":
            path.write_bytes(rng.choice((mutators.png, mutators.damage))(data, rng))
        else:
            path.write_bytes(mutators.damage(data, rng))


_EXPECTED = ("a/b/.run.log", "a/b/.run.log/stdout.txt", "a/b/.run.log/stderr.txt")


def _enter(site: Path) -> None:
    if site.is_dir():
        sys.path.insert(0, str(site))


def _listing(root: Path, run: Path) -> dict[str, tuple]:
    """What lies beside the folder of the run."""
    found = {}
    for path in root.rglob("*"):
        if run not in (path, *path.parents) and ".run.log" not in path.parts:
            status = path.lstat()
            found[path.relative_to(root).as_posix()] = (status.st_mtime_ns if path.is_file() else 0, status.st_mode)
    return found


def judge(ended: server.Ended, codes: tuple[int, ...] = CODES) -> list[str]:
    """What is wrong with the way a command ended."""
    finds = []
    if ended.why:
        finds.append(f"ended for its {ended.why}: {ended}")
    elif ended.code not in codes:
        finds.append(f"exit code {ended.code}: {ended}")
    if ended.traceback:
        finds.append(f"traceback at {where(ended)}: {ended}")
    elif ended.code in (1, 2) and not ended.err.strip() and not ended.out.strip():
        finds.append(f"no sentence: {ended}")
    if ended.orphans:
        finds.append(f"orphans: {ended.orphans}")
    return finds


def where(ended: server.Ended) -> str:
    """Type of an exception and the innermost place of the project in its traceback, to tell finds apart."""
    if not ended.traceback:
        return f"signal {-ended.code}" if ended.code < 0 else ""
    text = ended.err[ended.err.rindex("Traceback (most recent call last)") :]
    places = re.findall(r'File "[^"]*/((?:toolkit|attributes|tasks)/[^"]*)", line (\d+)', text)
    kinds = re.findall(
        r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Failed|NotAllowed|Bomb)?)(?::|$)", text, re.M
    )
    place = "{}:{}".format(*places[-1]) if places else "?"
    return f"{kinds[-1] if kinds else '?'} at {place}"


def _sign_dataset(root: Path) -> None:
    """Write the digests of changed files into the sums and the manifest, as whoever changes them can do."""
    from toolkit.dataset.layout import CHECKSUMS, MANIFEST

    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        manifest = json.loads((root / MANIFEST).read_text())
        for shard in manifest["shards"]:
            path = root / shard["path"]
            if path.is_dir():
                sums = path / CHECKSUMS
                names = [line.split("  ", 1)[1] for line in sums.read_text().splitlines()]
                if max((path / name).stat().st_size for name in names) > 1 << 30:
                    return  # it would take long to read
                sums.write_text("".join(f"{sha256_of(path / name)}  {name}\n" for name in names))
                path = sums
            shard["sha256"] = sha256_of(path)
        (root / MANIFEST).write_text(json.dumps(manifest))


def _sign_remover(root: Path) -> None:
    """Write the digests of changed files into the record."""
    from toolkit.remover.layout import RECORD

    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        record = json.loads((root / RECORD).read_text())
        for name in list(record["files"]):
            path = root / name
            if path.is_file() and path.stat().st_size < 1 << 30:
                record["files"][name] = sha256_of(path)
        (root / RECORD).write_text(json.dumps(record))


def _change_arrays(path: Path, rng: random.Random) -> None:
    """Change one array of a morphable model in an HDF5 or NumPy file."""
    import numpy as np

    def changed(array):
        choices = (
            lambda: array.reshape(-1)[: array.size // 2],
            lambda: array.T,
            lambda: np.full_like(array, rng.choice((np.nan, np.inf, 1e30, -1)) if array.dtype.kind == "f" else 10**6),
            lambda: array[:0],
            lambda: array.astype(np.float64 if array.dtype.kind == "i" else np.int8),
            lambda: np.array(["x"] * 3).astype("S3"),
            lambda: np.repeat(array, 2, axis=0),
            lambda: np.float32(1),
            lambda: np.zeros_like(array),
        )
        return rng.choice(choices)()

    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = dict(file)
        name = rng.choice(sorted(arrays))
        arrays[name] = changed(arrays[name])
        if rng.random() < 0.2:
            arrays[name] = np.array([Canary(path.parents[3] / "canary")], object)
        np.savez(path, **arrays)
        return
    import h5py

    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = rng.choice(sorted(names))
        found = file[name][()]
        del file[name]
        choice = rng.random()
        if choice < 0.1:
            file[name] = h5py.ExternalLink("/etc/passwd", "x")
        elif choice < 0.2:
            file.create_dataset(name, shape=(1 << 40,), dtype="f4", chunks=(1 << 16,))
        elif choice < 0.3:
            file[name] = h5py.SoftLink(f"/{name}")
        elif choice < 0.9 and getattr(found, "ndim", 0):
            file[name] = rng.choice((b"x", 3.0)) if found.dtype.kind == "O" else changed(found)


def campaign(
    fixtures: Fixtures, folder: Path, count: int, seed: int, done: dict[str, int], only: str = ""
) -> Iterator[dict]:
    """Run `count` trials, shared among the kinds; kinds take turns, so that a short run tries all of them."""
    mutations = Mutations(fixtures, folder)
    wanted = {kind: max(1, round(count * share)) for kind, share in SHARES.items() if only in kind}
    numbers = {kind: done.get(kind, 0) for kind in wanted}
    while kind := next(
        (one for one in sorted(wanted, key=lambda one: numbers[one] / wanted[one]) if numbers[one] < wanted[one]), None
    ):
        yield mutations.run(kind, seed * 1_000_000 + numbers[kind])
        numbers[kind] += 1
