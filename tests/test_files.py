"""Atomic writes: the old content or the new, never half."""

import hashlib
import os
import subprocess
import sys

import pytest

from toolkit.errors import UsageError
from toolkit.files import atomic, differences, locked, publish, read_json, remove, sha256_of, write_json, write_text


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


def test_a_lock_has_one_holder(tmp_path):
    with locked(tmp_path / "lock", "busy"), pytest.raises(UsageError, match="busy"), locked(tmp_path / "lock", "busy"):
        pass
    with locked(tmp_path / "lock", "busy"):
        pass


def test_differences_name_the_nested_key():
    assert list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})) == ["a.b was 1, now 3"]
