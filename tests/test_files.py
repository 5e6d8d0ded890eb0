"""Atomic writes: the old content or the new, never half."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from toolkit.errors import UsageError
from toolkit.files import (
    atomic,
    derived_path,
    differences,
    dump_json,
    locked,
    model_json,
    publish,
    read_json,
    remove,
    remove_remains,
    sha256_of,
    staging_path,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_digest_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 9000)
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("durable", [False, True])
def test_a_file_appears_whole(tmp_path, shared, durable):
    path = tmp_path / "video.mp4"
    path.write_text("old")
    with atomic(path, shared=shared, durable=durable) as staged:
        assert staged.parent == tmp_path and staged.name.startswith(".video") and staged.suffix == ".mp4"
        staged.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and names(tmp_path) == ["video.mp4"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_content_and_leaves_nothing(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), atomic(path) as staged:
        staged.write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a.json"]


def test_a_folder_replaces_the_folder_before_it(tmp_path):
    path = tmp_path / "remover"
    path.mkdir()
    (path / "old").touch()
    with atomic(path, durable=True) as staged:
        (staged / "deep").mkdir(parents=True)
        (staged / "deep" / "new").write_text("x")
    assert names(path) == ["deep"] and names(tmp_path) == ["remover"]


def test_a_file_does_not_replace_a_folder(tmp_path):
    path = tmp_path / "out.mp4"
    path.mkdir()
    (path / "precious").touch()
    with pytest.raises(OSError), atomic(path) as staged:
        staged.write_text("new")
    assert names(path) == ["precious"] and names(tmp_path) == ["out.mp4"]


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    path = tmp_path / "checkpoint"
    script = (
        "import os, signal, sys; from pathlib import Path; from toolkit.files import atomic\n"
        "with atomic(Path(sys.argv[1])) as staged:\n"
        "    staged.mkdir(); (staged / 'half').touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)])
    assert killed.returncode == -9 and not path.exists() and len(names(tmp_path)) == 1
    with atomic(path) as staged:
        staged.mkdir()
        (staged / "whole").touch()
    assert names(tmp_path) == ["checkpoint"] and names(path) == ["whole"]


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "link").symlink_to(kept)
    write_text(tmp_path / "new", "x")
    publish(tmp_path / "new", tmp_path / "link")
    assert kept.is_dir() and not (tmp_path / "link").is_symlink()
    (tmp_path / "other").symlink_to(kept)
    remove(tmp_path / "other")
    assert kept.is_dir() and not (tmp_path / "other").exists()


def test_json_survives_and_a_value_that_json_cannot_hold_changes_nothing(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"name": "Zoë", "values": [1, 2.5, None]})
    assert read_json(path) == {"name": "Zoë", "values": [1, 2.5, None]}
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})
    assert read_json(path)["name"] == "Zoë" and names(tmp_path) == ["a.json"]


def test_a_description_of_absurd_size_or_depth_is_refused_and_not_read(tmp_path):
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 3 << 30)  # takes no space on disk
    with pytest.raises(OSError, match="3072 MB"):
        read_json(path)
    path.write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ValueError, match="too deeply"):
        read_json(path)


def test_a_device_or_a_pipe_is_never_read(tmp_path):
    (tmp_path / "endless").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("endless", "pipe"):
        for read in (read_json, sha256_of):
            with pytest.raises(OSError, match="not a regular file"):
                read(tmp_path / name)


def test_a_read_only_folder_is_an_os_error(tmp_path):
    if os.geteuid() == 0:
        with pytest.raises(OSError):
            write_text(tmp_path / "missing" / "a", "x")
        return
    tmp_path.chmod(0o500)
    with pytest.raises(OSError):
        write_text(tmp_path / "a", "x")


def test_nothing_is_deleted_where_there_is_nothing(tmp_path, monkeypatch):
    """A read-only disk refuses to delete even what does not exist."""
    monkeypatch.setattr(os, "unlink", None)
    remove(tmp_path / "absent")


def test_a_lock_has_one_holder(tmp_path):
    with locked(tmp_path / "lock", "busy"), pytest.raises(UsageError, match="busy"), locked(tmp_path / "lock", "busy"):
        pass
    with locked(tmp_path / "lock", "busy"):
        pass


def test_differences_name_the_nested_key():
    assert list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})) == ["a.b was 1, now 3"]


def test_derived_names_fit_and_differ(tmp_path):
    long = "é" * 120
    one, other = tmp_path / f"{long}-one.mp4", tmp_path / f"{long}-two.mp4"
    for derive in (
        staging_path,
        lambda path: staging_path(path, shared=True),
        lambda path: derived_path(path, after=".json"),
        lambda path: derived_path(path, mark=".compare"),
        lambda path: derived_path(path, before=".", after=".edit"),
    ):
        names = {derive(path).name for path in (one, other)}
        assert len(names) == 2
        for name in names:
            assert len(os.fsencode(name)) <= 255
            (tmp_path / name).touch()
            assert name.encode(), "valid UTF-8"
    assert staging_path(one).suffix == derived_path(one, mark=".compare").suffix == ".mp4"


def test_short_names_stay_as_they_are():
    path = Path("x/face.mp4")
    assert derived_path(path, after=".json") == Path("x/face.mp4.json")
    assert derived_path(path, mark=".compare") == Path("x/face.compare.mp4")
    assert derived_path(path, before=".", after=".edit") == Path("x/.face.mp4.edit")
    assert staging_path(path) == Path("x/.face.part.mp4")


@pytest.mark.parametrize("name", ["a[1].mp4", "é" * 124 + ".mp4"])
def test_remains_of_killed_processes_are_found(tmp_path, name):
    path = tmp_path / name
    staged = staging_path(path, shared=True)
    dead = staged.with_name(staged.name.replace(str(os.getpid()), "4194304"))
    other = tmp_path / ".b.12.part.mp4"
    for file in (staged, dead, other):
        file.touch()
    remove_remains(path)
    assert list(tmp_path.iterdir()) == [other]


def test_json_has_no_broken_text(tmp_path):
    value = {"caf\udce9": ["\udcff", {"x": "\ud800"}], "ok": "é"}
    wanted = {"caf\\xe9": ["\\xff", {"x": "\\ud800"}], "ok": "é"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == wanted
    assert json.loads(dump_json(value).encode("utf-8")) == wanted

    class Model(BaseModel):
        path: Path
        names: list[str]

    text = model_json(Model(path=Path("caf\udce9"), names=["\udcff"]))
    assert json.loads(text.encode("utf-8")) == {"path": "caf\\xe9", "names": ["\\xff"]}
    assert model_json(Model(path=Path("a"), names=[])) == Model(path=Path("a"), names=[]).model_dump_json()


@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems open folders")
def test_what_is_durable_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    log = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}

    def fsync(descriptor):
        log.append(("sync", os.fstat(descriptor).st_ino))
        real["fsync"](descriptor)

    def replace(source, target):
        log.append(("rename", os.stat(source).st_ino))
        real["replace"](source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    (tmp_path / "new").mkdir()
    with atomic(tmp_path / "new" / "d", durable=True) as staged:
        (staged / "data").mkdir(parents=True)
        (staged / "data" / "a.png").write_bytes(b"a")
    inode = {name: (tmp_path / name).stat().st_ino for name in (".", "new", "new/d", "new/d/data", "new/d/data/a.png")}
    renamed = log.index(("rename", inode["new/d"]))
    for name in ("new/d", "new/d/data", "new/d/data/a.png"):
        assert log.index(("sync", inode[name])) < renamed
    for name in ("new", "."):  # the folder that has the new name, and the one in which that folder is new
        assert log.index(("sync", inode[name])) > renamed
