"""`toolkit dataset check` finds what was done to a dataset; `show` describes it."""

import hashlib
import io
import json
import os
import re
import resource
import shutil
import tarfile

import cv2
import numpy as np
import pytest

from toolkit.cli import main
from toolkit.dataset.check import check_dataset
from toolkit.dataset.png import decode_png, encode_png
from toolkit.dataset.reader import read_samples
from toolkit.errors import InputError

FORMATS = ["imagefolder", "webdataset"]


def sign(root):
    """Bring every checksum and count of checksums up to date, as somebody would who hides a change."""
    manifest = json.loads((root / "manifest.json").read_text())
    for shard in manifest["shards"]:
        path = root / shard["path"]
        if path.is_dir():
            lines = [
                f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
                for file in sorted(path.iterdir())
                if file.name != "SHA256SUMS"
            ]
            (path / "SHA256SUMS").write_text("".join(lines))
            path /= "SHA256SUMS"
        if path.exists():
            shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (root / "manifest.json").write_text(json.dumps(manifest))


def edit_files(root, change):
    """Let `change(name, data)` replace the files of the first shard (None removes one), then sign."""
    path = root / json.loads((root / "manifest.json").read_text())["shards"][0]["path"]
    if path.is_dir():
        for file in sorted(path.iterdir()):
            data = change(file.name, file.read_bytes())
            file.unlink() if data is None else file.write_bytes(data)
    else:
        with tarfile.open(path) as tar:
            members = [(member.name, tar.extractfile(member).read()) for member in tar]
        with tarfile.open(path, "w") as tar:
            for name, data in members:
                data = change(name, data)
                if data is not None:
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    sign(root)


def edit_manifest(root, change):
    manifest = json.loads((root / "manifest.json").read_text())
    change(manifest)
    (root / "manifest.json").write_text(json.dumps(manifest))


FIRST = "-0000000-00-0000000"


def edit_rows(change):
    """A change of files that lets `change(row)` edit the first row."""

    def edit(name, data):
        if name != "metadata.jsonl" and not name.endswith(f"{FIRST}.json"):
            return data
        first, *rest = data.decode().splitlines()
        row = json.loads(first)
        change(row)
        return "\n".join([json.dumps(row), *rest]).encode()

    return edit


def first_picture(picture, change):
    """A change of files that replaces one picture of the first pair."""
    names = (f"{FIRST}_{picture}.png", f"{FIRST}.{picture}.png")
    return lambda name, data: change(data) if name.endswith(names) else data


def dot_in_the_corner(data):
    pixels = decode_png(data).copy()
    pixels[0, 0] ^= 1
    return encode_png(pixels)


def without(name):
    return lambda row: row.pop(name)


def with_value(name, value):
    return lambda row: row.__setitem__(name, value)


def test_a_sound_dataset_has_no_problems(original, capsys):
    report = check_dataset(original)
    assert report.ok
    assert (report.problems, report.shards, report.clips) == ([], 3, 6)
    assert dict(report.samples) == {"train": 16, "validation": 8}
    assert main(["dataset", "check", str(original)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 shards, 6 clips, pairs: 16 train, 8 validation",
        "no problems found",
    ]


SIGNED = {
    "changed outside the mask": (
        first_picture("conditioning_image", dot_in_the_corner),
        "1 pixels differ outside",
    ),
    "another mask": (
        first_picture("mask", lambda data: encode_png(np.ones((64, 64), bool))),
        "mask_area is .*, but the mask has 4096 pixels",
    ),
    "smaller picture": (
        first_picture("image", lambda data: encode_png(np.zeros((32, 32, 3), np.uint8))),
        r"every picture must be 64x64, found sizes \[\(32, 32\), \(64, 64\)\]",
    ),
    "grey picture": (
        first_picture("image", lambda data: encode_png(np.zeros((64, 64), bool))),
        "wrong colours",
    ),
    "no picture": (first_picture("mask", lambda data: b"dear diary"), "not a readable"),
    "half a picture": (first_picture("mask", lambda data: data[:40]), "not a readable|mask_area"),
    "16 bit": (
        first_picture("mask", lambda data: cv2.imencode(".png", np.zeros((64, 64), np.uint16))[1].tobytes()),
        "not a readable 8-bit",
    ),
    "missing column": (edit_rows(without("text")), "text must be str, found None"),
    "wrong type": (edit_rows(with_value("frame_index", "3")), "frame_index must be int, found '3'"),
    "unhashable": (edit_rows(with_value("clip_id", [1, {}])), "clip_id must be str"),
    "another column": (edit_rows(with_value("extra", 1)), "the task's columns must be"),
    "twice the same": (edit_rows(with_value("frame_index", 1)), "two pairs for frame 1"),
    "another source": (
        edit_rows(with_value("source_digest", "0" * 64)),
        "its source_digest differs from that of its shard",
    ),
    "row is a list": (lambda name, data: b"[]" if name.endswith(("jsonl", "json")) else data, "must be a JSON object"),
    "row is deep": (
        lambda name, data: b"[" * 99999 if name.endswith(("jsonl", "json")) else data,
        "nested too deeply|damaged",
    ),
    "row is not utf-8": (lambda name, data: b"\xff" if name.endswith(("jsonl", "json")) else data, "is damaged"),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", SIGNED)
def test_a_change_is_found_even_where_all_checksums_are_renewed(copy, format, kind):
    change, words = SIGNED[kind]
    root = copy(format)
    edit_files(root, change)
    report = check_dataset(root)
    assert any(re.search(words, problem) for problem in report.problems), report.problems


@pytest.mark.parametrize("path", ["../../../secret.png", "/etc/hostname", "a\\..\\b.png", ""])
def test_a_row_cannot_name_a_file_elsewhere(copy, path):
    root = copy("imagefolder")
    edit_files(root, edit_rows(with_value("image_file_name", path)))
    report = check_dataset(root)
    assert any("not a file in the shard" in problem for problem in report.problems)


@pytest.mark.parametrize("name", ["../evil.png", "/tmp/evil.png"])
def test_a_tar_cannot_name_a_file_elsewhere(copy, name):
    root = copy("webdataset")
    tar = next((root / "data").glob("train-*.tar"))
    with tarfile.open(tar, "a") as opened:
        opened.addfile(tarfile.TarInfo(name))
    sign(root)
    assert any("is not a plain file" in problem for problem in check_dataset(root).problems)


@pytest.mark.parametrize("format", FORMATS)
def test_a_source_in_both_splits_is_a_leak(copy, format):
    root = copy(format)
    manifest = json.loads((root / "manifest.json").read_text())
    old = manifest["shards"][0]["path"]
    new = old.replace("data/train", "data/validation")
    shutil.copytree(root / old, root / new) if format == "imagefolder" else shutil.copy(root / old, root / new)
    manifest["shards"].append(manifest["shards"][0] | {"path": new, "split": "validation"})
    manifest |= {"clips": 8, "pairs": 32}
    (root / "manifest.json").write_text(json.dumps(manifest))
    problems = check_dataset(root).problems
    assert any("is in both splits: train and validation" in problem for problem in problems)
    assert any("another shard also holds the clip" in problem for problem in problems)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["config.json", "README.md", "preview.png"])
def test_a_missing_file(copy, format, name):
    root = copy(format)
    (root / name).unlink()
    assert check_dataset(root).problems == [f"{name} is missing"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["notes.txt", "data/notes.txt"])
def test_an_unexpected_file(copy, format, name):
    root = copy(format)
    (root / name).write_text("x")
    assert check_dataset(root).problems == [f"{name} is not part of the dataset"]


@pytest.mark.parametrize("format", FORMATS)
def test_what_file_managers_leave_is_no_problem(copy, litter, format):
    root = copy(format)
    litter(root)
    assert check_dataset(root).problems == []
    (root / ".hidden").touch()
    (root / "data" / "thumbs").touch()
    assert check_dataset(root).problems == [
        ".hidden is not part of the dataset",
        "data/thumbs is not part of the dataset",
    ]


def test_what_an_archiver_leaves_in_a_tar_is_no_problem(copy):
    root = copy("webdataset")
    before = [sample.row for sample in read_samples(root)]
    tar = next((root / "data").glob("train-*.tar"))
    with tarfile.open(tar, "a") as opened:
        for name in ("._extra.json", "__MACOSX/._extra.image.png", ".DS_Store"):
            opened.addfile(tarfile.TarInfo(name))
    sign(root)
    assert [sample.row for sample in read_samples(root)] == before


CONFIGS = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train/**\n---\n"


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda text: text.replace("---\n", CONFIGS, 2).replace(CONFIGS, "---\n", 1), r"delete `configs`"),
        (
            lambda text: re.sub("SHA-256 [0-9a-f]{64}", "SHA-256 " + "0" * 64, text),
            r"README.md describes other content",
        ),
        (lambda text: re.sub("dataset_info:\n.*\n", "", text), r"set `description` of `dataset_info` .* to: Pairs for"),
        (lambda text: text.replace("---", "", 1), "no readable front matter"),
        (lambda text: text.replace("tags:", "tags: ]"), "no readable front matter"),
        (lambda text: text.replace("tags:", "tags: " + "[" * 9999), "no readable front matter"),
    ],
)
def test_a_card_that_does_not_fit(copy, change, words):
    root = copy("imagefolder")
    text = (root / "README.md").read_text()
    assert change(text) != text
    (root / "README.md").write_text(change(text))
    (problem,) = check_dataset(root).problems
    assert re.search(words, problem), problem


def test_the_advice_about_a_card_helps(copy):
    root = copy("imagefolder")
    edit_manifest(root, lambda manifest: manifest["shards"][0]["dropped"].update(blurred=1))
    (problem,) = check_dataset(root).problems
    text = (root / "README.md").read_text()
    (root / "README.md").write_text(re.sub("description: .*", "description: " + problem.split(" to: ")[1], text))
    assert check_dataset(root).ok


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_shard(copy, format):
    root = copy(format)
    path = root / json.loads((root / "manifest.json").read_text())["shards"][1]["path"]
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert any(problem.endswith("is missing") for problem in check_dataset(root).problems)


def test_files_of_a_shard(copy):
    root = copy("imagefolder")
    shard = next((root / "data" / "train").iterdir())
    pictures = sorted(shard.glob("*_mask.png"))
    pictures[0].unlink()
    pictures[1].unlink()
    pictures[1].symlink_to(pictures[2])
    (shard / "more.png").write_bytes(b"")
    problems = "\n".join(check_dataset(root).problems)
    for words in (
        f"{pictures[0].name} is missing",
        f"{pictures[1].name} is not a plain file",
        "more.png is not part of",
    ):
        assert words in problems


@pytest.mark.parametrize("content", ["", "{}", '{"config": 3, "inputs": []}', '{"config": {}, "inputs": [3]}'])
def test_a_config_that_does_not_belong(copy, content):
    root = copy("imagefolder")
    (root / "config.json").write_text(content)
    assert any("config.json" in problem for problem in check_dataset(root).problems)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m.update(pairs=25), "states 25 pairs, its shards hold 24"),
        (lambda m: m["shards"][0].update(pairs=9), "states 9 pairs, found 8"),
        (lambda m: m["shards"][0].update(clips=1), "states 1 clips, found 2"),
        (lambda m: m["sources"][0].update(split="validation"), "its source belongs to validation, not train"),
        (lambda m: m["shards"][0].update(name="other"), "does not fit its name and the split"),
        (lambda m: m.update(resolution=128), "every picture must be 128x128"),
        (lambda m: m["sources"].pop(), "name different sources"),
    ],
)
def test_a_manifest_that_states_something_else(copy, change, words):
    root = copy("imagefolder")
    edit_manifest(root, change)
    assert any(words in problem for problem in check_dataset(root).problems)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m.update(schema_version=3), "schema_version"),
        (lambda m: m.pop("shards"), "shards"),
        (lambda m: m.update(more=1), "more"),
        (lambda m: m["shards"][0].update(path="../../etc"), "path outside the dataset"),
        (lambda m: m["shards"][0].update(path="/etc"), "path outside the dataset"),
    ],
)
def test_a_manifest_that_cannot_be_used(copy, change, words, capsys):
    root = copy("imagefolder")
    edit_manifest(root, change)
    with pytest.raises(InputError, match=words):
        check_dataset(root)
    assert main(["dataset", "check", str(root)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("format", FORMATS)
def test_any_flipped_byte_is_found(copy, format):
    """A byte of any file that carries data, anywhere in it; the check reports it and never falls over."""
    root = copy(format)
    files = [
        path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in ("README.md", "preview.png")
    ]
    rng = np.random.default_rng(7)
    for number in range(25):
        path = files[rng.integers(len(files))] if number >= 4 else files[number]
        data = path.read_bytes()
        place = int(rng.integers(len(data)))
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << int(rng.integers(8)))]) + data[place + 1 :])
        if path.name in ("config.json", "manifest.json"):
            try:
                check_dataset(root)  # a changed reason or count of frames means nothing for a trainer
            except InputError as error:
                assert "manifest.json" in str(error)
        else:
            assert not check_dataset(root).ok, (path, place)
        path.write_bytes(data)
    assert check_dataset(root).ok


def test_the_command_lists_problems_and_exits_with_1(copy, capsys):
    root = copy("imagefolder")
    (root / "notes.txt").write_text("x")
    assert main(["dataset", "check", str(root)]) == 1
    shown = capsys.readouterr()
    assert shown.err == "problem: notes.txt is not part of the dataset\n"
    assert shown.out.splitlines()[-1] == "1 problem"
    assert main(["dataset", "check", str(root / "data")]) == 1
    assert capsys.readouterr().err.startswith("error: expected a dataset with a manifest.json in ")


def test_show_renders_a_sheet(original, tmp_path, capsys):
    assert main(["dataset", "show", str(original), "--output", str(tmp_path / "s.png"), "--clips", "2"]) == 0
    shown = capsys.readouterr().out
    assert "train: 16 pairs in 4 clips from 2 videos" in shown
    assert f"preview: {tmp_path / 's.png'}" in shown.replace("\n", "")
    two = decode_png((tmp_path / "s.png").read_bytes())
    six = decode_png((original / "preview.png").read_bytes())
    assert two.shape[1] == six.shape[1]
    assert (six.shape[0] - two.shape[0]) % 4 == 0 and six.shape[0] > two.shape[0]
    assert len(np.unique(two.reshape(-1, 3), axis=0)) > 100


def test_show_says_why_it_cannot(original, tmp_path, capsys):
    before = (original / "preview.png").read_bytes()
    assert main(["dataset", "show", str(original), "--clips", "2"]) == 2
    assert main(["dataset", "show", str(original), "--output", str(tmp_path / "no" / "s.png")]) == 1
    assert "cannot be written: No such file or directory" in capsys.readouterr().err
    assert (original / "preview.png").read_bytes() == before
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["manifest.json", "SHA256SUMS", "metadata.jsonl", "mask.png"])
def test_files_of_absurd_size_are_refused_and_not_read(copy, name, capsys):
    root = copy("imagefolder")
    path = next(path for path in sorted(root.rglob("*")) if path.name.endswith(name))
    os.truncate(path, 300 << 20)  # takes no space on disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name != "mask.png":
        assert main(["dataset", "check", str(root)]) == 1
        said = capsys.readouterr()
        assert path.name in said.out + said.err
    if name != "SHA256SUMS":
        with pytest.raises(InputError, match=path.name):
            [sample.picture("mask") for sample in read_samples(root)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB
