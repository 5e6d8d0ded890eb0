"""`toolkit fetch` against a local server: complete, interrupted, resumed, damaged, refused and missing files."""

import errno
import hashlib
import json
import os
import socket
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

import toolkit.fetch
from toolkit.backbones import BACKBONES, BackboneSpec, Lora, describe, load, provenance
from toolkit.backbones.locations import in_cache, lora_file
from toolkit.cli import fetch as fetch_verb
from toolkit.cli import main
from toolkit.device import ComputeDevice
from toolkit.errors import MissingExtra, ToolkitError, UsageError
from toolkit.fetch import Download, RemoteFile, cache_folder, download, downloads, fetch_backbone, fetch_file
from toolkit.testing import tiny_backbone

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA = bytes(range(256)) * 40_000  # 10 MB, more than one chunk


class Server(ThreadingHTTPServer):
    """Serves `files` by path, and a repository `tiny/backbone` like the Hugging Face Hub.

    `cut` lists after how many bytes to close the connection, one number per request. `ranges` says whether transfers
    can resume. `seen` records the requests: method, path, Range header.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.repository, self.cut, self.seen, self.ranges = {}, {}, [], [], True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        server = self.server
        server.seen.append((self.command, path, self.headers.get("Range")))
        resolve = f"/tiny/backbone/resolve/{COMMIT}/"
        if path.startswith("/api/models/tiny/backbone/tree/"):
            self.answer(json.dumps([self.entry(name) for name in server.repository]).encode())
        elif path.startswith("/api/models/tiny/backbone/revision/"):  # asked by older clients
            siblings = [{"rfilename": name} for name in server.repository]
            self.answer(json.dumps({"id": "tiny/backbone", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(resolve) and (name := path.removeprefix(resolve)) in server.repository:
            self.answer(server.repository[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{self.etag(name)}"'})
        elif path in server.files:
            self.answer(server.files[path])
        else:
            self.send_error(404)

    def etag(self, name):
        data = self.server.repository[name]
        large = name.endswith(".safetensors")
        return hashlib.sha256(data).hexdigest() if large else hashlib.sha1(data).hexdigest()

    def entry(self, name):
        data = self.server.repository[name]
        entry = {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": name}
        if name.endswith(".safetensors"):
            entry["lfs"] = {"oid": self.etag(name), "size": len(data), "pointerSize": 134}
        return entry

    def answer(self, data, headers=()):
        whole, start = len(data), 0
        wanted = self.headers.get("Range")
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            if start >= whole:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{whole}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = data[start:]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        else:
            self.send_response(200)
        for key, value in dict(headers).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            cut = self.server.cut.pop(0) if self.server.cut else len(data)
            self.wfile.write(data[:cut])
            self.close_connection = True


@pytest.fixture
def server():
    with Server() as server:
        server.files["/models/weights.pth"] = DATA
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def url(server):
    return f"{server.url}/models/weights.pth"


SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("checksum", [None, SHA256, SHA256[:8], SHA256.upper()])
def test_whole_file(url, tmp_path, checksum):
    steps = []
    path = tmp_path / "new" / "weights.pth"
    assert download(url, path, sha256=checksum, progress=lambda *step: steps.append(step)) == path
    assert path.read_bytes() == DATA
    assert [file.name for file in path.parent.iterdir()] == ["weights.pth"]
    assert steps[-1] == (len(DATA), len(DATA)) and steps == sorted(steps) and len(steps) > 1


def test_interrupted_transfer_resumes_by_itself(server, url, tmp_path):
    server.cut = [3_000_000, 1_000_000]
    assert download(url, tmp_path / "w.pth", sha256=SHA256).read_bytes() == DATA
    assert [request[2] for request in server.seen] == [None, "bytes=3000000-", "bytes=4000000-"]


def test_next_call_resumes_after_repeated_interruptions(server, url, tmp_path):
    server.cut = [1000, 1000, 1000]
    path = tmp_path / "w.pth"
    with pytest.raises(ToolkitError, match=r"broke off 3 times .*resume after 3000 bytes"):
        download(url, path)
    assert not path.exists() and (tmp_path / "w.pth.part").read_bytes() == DATA[:3000]
    server.seen.clear()
    assert download(url, path, sha256=SHA256).read_bytes() == DATA
    assert server.seen[0][2] == "bytes=3000-" and len(server.seen) == 1


def test_server_that_cannot_resume(server, url, tmp_path):
    server.ranges = False
    (tmp_path / "w.pth.part").write_bytes(b"x" * 5000)
    assert download(url, tmp_path / "w.pth", sha256=SHA256).read_bytes() == DATA


def test_partial_file_is_complete_or_too_long(server, url, tmp_path):
    (tmp_path / "w.pth.part").write_bytes(DATA)
    assert download(url, tmp_path / "w.pth", sha256=SHA256).read_bytes() == DATA
    (tmp_path / "w.pth.part").write_bytes(DATA + b"more")
    assert download(url, tmp_path / "w.pth", sha256=SHA256).read_bytes() == DATA


def test_wrong_checksum_keeps_the_old_file(url, tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"old")
    with pytest.raises(ToolkitError, match=f"expected a file with SHA-256 {'0' * 64} .* but it has {SHA256}"):
        download(url, path, sha256="0" * 64)
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["w.pth"]


def test_refusal_and_no_network(server, tmp_path):
    with pytest.raises(ToolkitError, match="the server answered 404"):
        download(f"{server.url}/nothing", tmp_path / "w.pth")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(
        ToolkitError, match=r"cannot be reached \(.*refused.*\); run the command on a machine with network"
    ):
        download(f"http://127.0.0.1:{port}/w.pth", tmp_path / "w.pth")
    assert list(tmp_path.iterdir()) == []


def test_full_disk(url, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ToolkitError, match=r"w\.pth cannot be written: the disk is full"):
        download(url, tmp_path / "w.pth")
    monkeypatch.undo()

    def no_room(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", no_room)
    with pytest.raises(ToolkitError, match="the disk is full; the data received so far is kept"):
        download(url, tmp_path / "w.pth")
    assert (tmp_path / "w.pth.part").read_bytes() == DATA


def test_folder_that_cannot_be_created(url, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolkitError, match="cannot be written"):
        download(url, tmp_path / "file" / "w.pth")


def test_sound_file_is_kept_and_damaged_file_replaced(server, url, tmp_path):
    file = RemoteFile(url, SHA256[:8])
    assert fetch_file(file, tmp_path)
    asked = len(server.seen)
    assert not fetch_file(file, tmp_path) and len(server.seen) == asked
    (tmp_path / file.name).write_bytes(DATA[:-1])
    assert fetch_file(file, tmp_path)
    assert (tmp_path / file.name).read_bytes() == DATA


def test_archive_without_a_published_checksum(server, tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("inside", b"x" * 10_000)
    server.files["/jit.pt"] = archive.read_bytes()
    file = RemoteFile(f"{server.url}/jit.pt")
    assert fetch_file(file, tmp_path) and not fetch_file(file, tmp_path)
    server.files["/jit.pt"] = b"<html>please log in</html>"
    (tmp_path / "jit.pt").unlink()
    with pytest.raises(ToolkitError, match="was damaged and has been deleted"):
        fetch_file(file, tmp_path)
    assert not (tmp_path / "jit.pt").exists()


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["model.onnx", "pack/model.onnx", "../../model.onnx"])
def test_one_file_of_an_archive(server, tmp_path, name):
    server.files["/pack.zip"] = zipped(tmp_path / "made.zip", **{name: DATA, "other.onnx": b"unwanted"})
    file, folder = RemoteFile(f"{server.url}/pack.zip", SHA256, "model.onnx"), tmp_path / "deep" / "models"
    assert fetch_file(file, folder) and not fetch_file(file, folder)
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    assert (folder / "model.onnx").read_bytes() == DATA
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    "members", [{"model.onnx": DATA + b"!"}, {"other": b""}, {"model.onnx": DATA, "b/model.onnx": DATA}, None]
)
def test_unusable_archives(server, tmp_path, members):
    made = b"<html>please log in</html>" if members is None else zipped(tmp_path / "made.zip", **members)
    server.files["/pack.zip"] = made
    folder = tmp_path / "models"
    with pytest.raises(ToolkitError, match="was damaged and has been deleted"):
        fetch_file(RemoteFile(f"{server.url}/pack.zip", SHA256, "model.onnx"), folder)
    assert not list(folder.iterdir())


def test_archive_is_kept_while_the_disk_is_full(server, tmp_path, monkeypatch):
    server.files["/pack.zip"] = zipped(tmp_path / "made.zip", **{"model.onnx": DATA})
    file, folder = RemoteFile(f"{server.url}/pack.zip", SHA256, "model.onnx"), tmp_path / "models"

    def full(source, target, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads.shutil, "copyfileobj", full)
    with pytest.raises(ToolkitError, match="cannot be written"):
        fetch_file(file, folder)
    monkeypatch.undo()
    assert [path.name for path in folder.iterdir()] == ["pack.zip"]
    asked = len(server.seen)
    assert fetch_file(file, folder) and len(server.seen) == asked
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]


def test_downloads_are_saved_where_they_are_expected(monkeypatch, tmp_path):
    from toolkit.evaluate.arcface import find_arcface
    from toolkit.evaluate.flow import raft_weights

    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    source = downloads.DOWNLOADS["arcface"]
    assert find_arcface() is None
    path = source.folder() / source.files[0].name
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_arcface() == path and path.is_relative_to(tmp_path)
    assert raft_weights() == downloads.DOWNLOADS["raft"].folder() / downloads.DOWNLOADS["raft"].files[0].name


def test_command_downloads_a_file(server, url, tmp_path, monkeypatch, capsys):
    source = Download("a flow model", "10 MB", "MIT", lambda: tmp_path / "hub", (RemoteFile(url, SHA256),))
    monkeypatch.setitem(downloads.DOWNLOADS, "raft", source)
    assert main(["fetch", "raft"]) == 0
    assert (tmp_path / "hub" / "weights.pth").read_bytes() == DATA
    assert capsys.readouterr().out.strip() == f"raft: {tmp_path / 'hub' / 'weights.pth'}"
    assert main(["fetch", "raft", "raft"]) == 0
    assert capsys.readouterr().out.count("(already present)") == 1
    server.files.clear()
    (tmp_path / "hub" / "weights.pth").unlink()
    assert main(["fetch", "raft"]) == 1
    error = capsys.readouterr().err
    assert error.strip().startswith("error: ") and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["list"]])
def test_list(words, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "raft_large_C_T_SKHT_V2-ff5fadd5.pth").write_bytes(b"")
    (checkpoints / "mobilenet0.25_Final.pth").write_bytes(b"")
    rows = {row[0]: row for row in fetch_verb._rows()}
    assert main(["fetch", *words]) == 0
    listing = capsys.readouterr().out
    assert all(name in listing for name in ("sd15", "facer", "raft", "mediapipe", "6.1 GB", "MIT"))
    assert [rows[name][-1] for name in ("sd15", "facer", "raft", "mediapipe")] == ["missing", "1 of 3", "ok", "missing"]
    assert str(checkpoints) in rows["raft"] and str(cache_folder() / "mediapipe") in rows["mediapipe"]
    assert cache_folder() == tmp_path / "cache" / "vlasik-toolkit"


def test_wrong_requests_download_nothing(capsys, monkeypatch):
    monkeypatch.setattr(fetch_verb, "_fetch_download", lambda name: pytest.fail("fetched"))
    for words, sentence in (
        (["raft", "sd51"], "nothing called 'sd51' to fetch, did you mean sd15?"),
        (["raft", "list"], "nothing called 'list'"),
        (["raft", "--parts", "vae"], "raft has no parts"),
        (["--parts", "vae"], "--parts needs the name of a backbone"),
        (["sd15", "--parts", "vea"], "no part 'vea' to fetch for `sd15`, did you mean vae?"),
    ):
        assert main(["fetch", *words]) == 2
        assert sentence in capsys.readouterr().err


def test_downloaded_bundle_is_used_if_the_wheel_has_no_models(tmp_path, monkeypatch):
    from toolkit.faces import availability
    from toolkit.faces.mediapipe import require_models

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("toolkit.faces.mediapipe.Path.is_file", lambda path: "front_cpu" not in path.name)
    assert require_models() == tmp_path / "vlasik-toolkit" / "mediapipe" / "face_landmarker.task"
    assert availability("mediapipe") is None
    monkeypatch.setattr("toolkit.faces.mediapipe.Path.is_file", lambda path: False)
    assert "toolkit fetch mediapipe" in availability("mediapipe")


def test_facer_files_have_the_names_that_the_analyser_expects():
    from toolkit.faces.facer import cached_path

    source = downloads.DOWNLOADS["facer"]
    assert {source.folder() / file.name for file in source.files} == {cached_path(key) for key in downloads.FACER_FILES}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tiny_backbone(tmp_path_factory.mktemp("hub") / "tiny")
    # Old repositories have these two files instead of tokenizer.json.
    tokenizer = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(tokenizer["vocab"]))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer" / "tokenizer.json").unlink()
    return folder


@pytest.fixture
def hub(server, tiny, tmp_path, monkeypatch):
    """A backbone of repositories on the local server, and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    for path in tiny.rglob("*"):
        if path.is_file():
            server.repository[str(path.relative_to(tiny))] = path.read_bytes()
    server.repository["unet/diffusion_pytorch_model.bin"] = b"not asked for"
    local = describe(tiny)
    parts = {
        name: {
            "class_name": part.class_name,
            "repository": "tiny/backbone",
            "subfolder": part.folder.name,
            "revision": COMMIT,
        }
        for name, part in local.parts.items()
    }
    return BackboneSpec(name="remote", resolution=64, download_size="15 MB", **parts)


def test_downloaded_backbone_loads_without_a_network(server, hub, monkeypatch):
    assert not any(in_cache(hub).values())
    folders = fetch_backbone(hub, endpoint=server.url)
    assert len(folders) == len(hub.parts) and all(in_cache(hub).values())
    fetched = {path for method, path, _ in server.seen if method == "GET" and "/resolve/" in path}
    assert not any(path.endswith(".bin") for path in fetched), "more files were downloaded than needed"
    described = provenance(hub)["parts"]["unet"]
    assert described["revision"] == COMMIT and described["repository"] == "tiny/backbone"
    server.shutdown()
    backbone = load(hub, parts=tuple(hub.parts), compute=ComputeDevice("cpu", "float32", True))
    assert backbone.tokenizer("a").input_ids == [188, 158, 189]


def test_only_some_parts_and_again(server, hub):
    fetch_backbone(hub, ["vae", "scheduler"], endpoint=server.url)
    assert [name for name, there in in_cache(hub).items() if there] == ["vae", "scheduler"]
    server.seen.clear()
    fetch_backbone(hub, ["vae"], endpoint=server.url)
    assert not [path for method, path, _ in server.seen if method == "GET" and "safetensors" in path]
    with pytest.raises(UsageError, match=r"no part 'vea' to fetch for `remote`, did you mean vae\?"):
        fetch_backbone(hub, ["vea"], endpoint=server.url)


def test_loras_come_with_their_part(server, hub):
    server.repository["fast.safetensors"] = b"a LoRA"
    lora = Lora(repository="tiny/backbone", revision=COMMIT, file="fast.safetensors")
    spec = hub.model_copy(update={"unet": hub.unet.model_copy(update={"loras": (lora,)})})
    fetch_backbone(hub, ["unet"], endpoint=server.url)
    assert in_cache(hub)["unet"] and not in_cache(spec)["unet"]
    with pytest.raises(MissingExtra, match=r"LoRA of the unet of `remote` is not in the cache .*lacks fast"):
        load(spec, ("unet",))
    fetch_backbone(spec, ["unet"], endpoint=server.url)
    assert in_cache(spec)["unet"] and lora_file(spec, "unet", lora).read_bytes() == b"a LoRA"


def test_repository_lacks_a_file(server, hub):
    del server.repository["vae/diffusion_pytorch_model.safetensors"]
    with pytest.raises(ToolkitError, match=r"the download of vae for `remote` is incomplete.*lacks vae/diffusion"):
        fetch_backbone(hub, ["vae"], endpoint=server.url)


def test_damaged_blob_is_deleted(server, hub):
    (folder,) = fetch_backbone(hub, ["vae"], endpoint=server.url)
    weights = folder / "diffusion_pytorch_model.safetensors"
    blob = weights.resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ToolkitError, match="was damaged"):
        fetch_backbone(hub, ["vae"], endpoint=server.url)
    assert not in_cache(hub)["vae"]
    fetch_backbone(hub, ["vae"], endpoint=server.url)
    assert in_cache(hub)["vae"]


def test_no_such_repository_and_offline(server, hub, monkeypatch):
    elsewhere = BackboneSpec.model_validate(
        hub.model_dump(exclude_none=True) | {"vae": {"class_name": "AutoencoderKL", "repository": "no/where"}}
    )
    with pytest.raises(ToolkitError, match="no/where"):
        fetch_backbone(elsewhere, ["vae"], endpoint=server.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ToolkitError, match=r"tiny/backbone cannot be reached .* machine with network access") as caught:
        fetch_backbone(hub, ["vae"], endpoint=server.url)
    assert "\n" not in str(caught.value)


def test_local_backbone_has_nothing_to_fetch(tiny):
    with pytest.raises(UsageError, match="is a local folder"):
        fetch_backbone(describe(tiny))


def test_command_downloads_a_backbone(server, hub, monkeypatch, capsys):
    monkeypatch.setitem(BACKBONES, "remote", hub)
    local = partial(fetch_backbone, endpoint=server.url)
    monkeypatch.setattr(toolkit.fetch, "fetch_backbone", local, raising=False)
    assert main(["fetch", "remote", "--parts", "vae", "scheduler"]) == 0
    assert "remote: 2 parts in" in capsys.readouterr().out
