"""Writing a remover: all of it or nothing, without touching other files."""

import errno
import json
import os
import subprocess
import sys

import pytest

from toolkit.errors import InputError, ToolkitError
from toolkit.remover import finish_writing, is_remover, read_remover, write_remover, writing
from toolkit.remover.layout import CONTROLNET, RECORD, WRITING, WRITTEN

WEIGHTS = "controlnet/diffusion_pytorch_model.safetensors"


def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def scaled(controlnet, factor):
    """A function that saves the ControlNet with other weights."""
    import copy

    import torch

    other = copy.deepcopy(controlnet)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(factor)
    return other.save_pretrained


def test_what_is_written(original, record):
    files = everything(original)
    assert set(files) == {
        *("remover.json", "README.md", "images/grid.jpg", "images/curve.png"),
        *("controlnet/config.json", WEIGHTS),
    }
    found = read_remover(original).record
    assert set(found.files) == set(files) - {RECORD}
    assert found.model_copy(update={"files": {}}) == record
    document = json.loads(files[RECORD])
    assert document["schema_version"] == 1 and document["held_out"]["sharpness"] is None
    assert "naïve" in files[RECORD].decode()


def test_plain_diffusers_loads_it(original, controlnet):
    import torch
    from diffusers import ControlNetModel

    loaded = ControlNetModel.from_pretrained(original, subfolder="controlnet", local_files_only=True)
    wanted = controlnet.state_dict()
    assert loaded.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[key]) for key, value in loaded.state_dict().items())


def test_same_remover_gives_the_same_bytes(original, tmp_path, controlnet, record, pictures):
    write_remover(tmp_path / "again", controlnet.save_pretrained, record, pictures)
    assert everything(tmp_path / "again") == everything(original)


def test_replacing_keeps_the_files_of_the_training(remover, controlnet, record, pictures):
    before = everything(remover)
    (remover / CONTROLNET / "stale.safetensors").write_bytes(b"of an older layout")
    (remover / "images" / "old").mkdir()
    (remover / "images" / "old" / "sheet.jpg").write_bytes(b"")
    new = record.model_copy(update={"step": 1000})
    written = write_remover(remover, scaled(controlnet, 2.0), new, {"grid.jpg": pictures["grid.jpg"]})
    assert read_remover(remover).record == written and written.step == 1000
    after = everything(remover)
    gone = {"images/curve.png"}
    assert set(after) == set(before) - gone and not (remover / "images" / "old").exists()
    for name in ("checkpoint-10/training.pt", "logs/events"):
        assert after[name] == before[name]
    assert after[WEIGHTS] != before[WEIGHTS] and b"step 1000" in after["README.md"]


def test_files_of_a_killed_writer_are_deleted(remover, controlnet, record, pictures):
    (remover / WRITING / CONTROLNET).mkdir(parents=True)
    (remover / WRITING / CONTROLNET / "half.safetensors").write_bytes(b"")
    assert read_remover(remover)
    write_remover(remover, controlnet.save_pretrained, record, pictures)
    assert read_remover(remover) and not (remover / WRITING).exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "I/O error")])
def test_error_while_saving_keeps_the_old_one(remover, error, record, pictures):
    before = everything(remover)

    def save(folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise error

    with pytest.raises(ToolkitError, match=r"cannot be written: (the disk is full|I/O error); the previous files"):
        write_remover(remover, save, record, pictures)
    assert everything(remover) == before and read_remover(remover)


def test_real_full_disk(tmp_path, original):
    """A file size limit stops the real saver, in a separate process."""
    script = """
import resource, signal, sys
from diffusers import ControlNetModel
from toolkit.errors import ToolkitError
from toolkit.remover import read_remover, write_remover
folder = sys.argv[1]
controlnet = ControlNetModel.from_pretrained(folder, subfolder="controlnet")
record = read_remover(folder).record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_remover(sys.argv[2], controlnet.save_pretrained, record, {})
except ToolkitError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", script, original, tmp_path / "new"], capture_output=True, text=True, check=True
    )
    assert "cannot be written: " in result.stdout and "File too large" in result.stdout, result.stderr
    assert everything(tmp_path / "new") == {}


def test_folder_that_cannot_be_created(tmp_path, record, pictures):
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolkitError, match="cannot be written"):
        write_remover(tmp_path / "file", lambda folder: None, record, pictures)


@pytest.mark.parametrize("name", ["model.bin", "nothing.txt"])
def test_saver_that_writes_no_safetensors_is_a_bug(tmp_path, record, pictures, name):
    def save(folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / name).write_bytes(b"x")

    with pytest.raises(ValueError, match="the saved remover names"):
        write_remover(tmp_path / "new", save, record, pictures)
    assert everything(tmp_path / "new") == {}


def renames(remover):
    """Number of files that are moved into place."""
    return len(read_remover(remover).record.files) + 1


@pytest.mark.parametrize("moved", range(8))
def test_killed_at_every_rename(remover, moved, controlnet, record, pictures, monkeypatch):
    """Until the new remover is complete, the old one is valid; after that, the next call finishes the new one."""
    new, weights = record.model_copy(update={"step": 1000}), (remover / WEIGHTS).read_bytes()
    real, calls = os.replace, []

    class Killed(BaseException):
        pass

    def replace(source, target):
        if target.name == WRITTEN:
            return real(source, target)
        if len(calls) == moved:
            raise Killed
        calls.append(target)
        return real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    save = scaled(controlnet, 2.0)
    if moved >= renames(remover):
        write_remover(remover, save, new, pictures)
        assert len(calls) == renames(remover)
    else:
        with pytest.raises(Killed):
            write_remover(remover, save, new, pictures)
        monkeypatch.setattr("toolkit.remover.reading._PAUSE", 0)
        assert (remover / WRITTEN / RECORD).is_file()
        if moved < 2:  # the configuration is the same file in both
            assert read_remover(remover).record.step == 750
            assert (remover / WEIGHTS).read_bytes() == weights and b"step 750" in (remover / "README.md").read_bytes()
        else:
            with pytest.raises(InputError, match="was killed while it replaced the remover"):
                read_remover(remover)
    monkeypatch.setattr(os, "replace", real)
    finish_writing(remover)
    assert read_remover(remover).record.step == 1000
    assert not (remover / WRITTEN).exists() and not (remover / WRITING).exists()


def test_the_next_writer_finishes_first(remover, controlnet, record, pictures, monkeypatch):
    monkeypatch.setattr(writing, "finish_writing", lambda folder: None)
    write_remover(remover, scaled(controlnet, 2.0), record.model_copy(update={"step": 1000}), pictures)
    monkeypatch.undo()
    assert read_remover(remover).record.step == 750

    def save(folder):
        raise OSError(errno.ENOSPC, "")

    with pytest.raises(ToolkitError, match="the disk is full"):
        write_remover(remover, save, record, pictures)
    assert read_remover(remover).record.step == 1000


def test_finishing_does_not_leave_the_folder(remover, tmp_path):
    """A downloaded folder could contain anything under that name."""
    (tmp_path / "victim.txt").write_text("mine")
    document = json.loads((remover / RECORD).read_text())
    document["files"]["../victim.txt"] = "0" * 64
    (remover / WRITTEN).mkdir()
    (remover / WRITTEN / RECORD).write_text(json.dumps(document))
    with pytest.raises(ToolkitError, match=r"'\.\./victim.txt', which is no safe path"):
        finish_writing(remover)
    (remover / WRITTEN / RECORD).write_text("{")
    with pytest.raises(ToolkitError, match="is damaged"):
        finish_writing(remover)
    assert (tmp_path / "victim.txt").read_text() == "mine"


def test_link_in_the_place_of_the_controlnet_is_replaced(remover, tmp_path, controlnet, record, pictures):
    elsewhere = tmp_path / "elsewhere"
    (remover / CONTROLNET).rename(elsewhere)
    before = everything(elsewhere)
    (remover / CONTROLNET).symlink_to(elsewhere)
    write_remover(remover, scaled(controlnet, 2.0), record, pictures)
    assert read_remover(remover) and everything(elsewhere) == before


def test_the_folder_itself_may_be_a_link(tmp_path, controlnet, record, pictures):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    for _ in range(2):
        write_remover(tmp_path / "out", controlnet.save_pretrained, record, pictures)
        assert (tmp_path / "out").is_symlink() and read_remover(tmp_path / "out")
        assert not (tmp_path / "real" / WRITTEN).exists()


def test_first_remover_of_a_training(tmp_path, controlnet, record, pictures):
    assert not is_remover(tmp_path)
    write_remover(tmp_path / "a" / "b", controlnet.save_pretrained, record, pictures)
    assert is_remover(tmp_path / "a" / "b")
