"""Servers that answer wrongly: each gives one sentence, in bounded time and space, and no file but the download."""

import contextlib
import gzip
import hashlib
import io
import re
import socket
import threading
import time
import urllib.request
import zipfile

import pytest

from toolkit.backbones import BackboneSpec
from toolkit.errors import ToolkitError
from toolkit.fetch import RemoteFile, download, fetch_backbone, fetch_file, transfer
from toolkit.fetch.downloads import is_sound

DATA = bytes(range(256)) * 64
SHA256 = hashlib.sha256(DATA).hexdigest()


class Script:
    """A server that sends to each connection what the next of `answers` says: bytes, or a function of the socket."""

    def __init__(self, answers):
        self.answers, self.asked, self.stopped = list(answers), [], threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/weights.pth"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        for answer in self.answers:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(65536).decode())
                with contextlib.suppress(OSError):  # if the client has hung up
                    connection.sendall(answer) if isinstance(answer, bytes) else answer(connection, self.stopped)

    def close(self):
        self.stopped.set()
        self.socket.close()


@pytest.fixture
def serve():
    servers = []

    def start(*answers):
        servers.append(Script(answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def answer(body=b"", status="200 OK", length=None, **headers):
    lines = [f"HTTP/1.1 {status}", *(f"{key.replace('_', '-')}: {value}" for key, value in headers.items())]
    if length is not False:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def refused(url, folder, sha256=SHA256, left=()):
    """The sentence of a download that must fail and leave only the files in `left`."""
    with pytest.raises(ToolkitError) as caught:
        download(url, folder / "weights.pth", sha256=sha256)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == sorted(left)
    return str(caught.value)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/weights.pth", "data:,x", "gopher://x/"])
def test_redirects_out_of_http(serve, tmp_path, target):
    server = serve(answer(status="302 Found", Location=target))
    assert re.search(f"the server redirects to {target!r}|url '{target}' is not allowed", refused(server.url, tmp_path))


def test_redirects_from_https_to_http():
    handler = transfer._Redirects()
    secure = urllib.request.Request("https://example.org/a")
    for target in ("http://example.org/a", "http://127.0.0.1/a", "ftp://example.org/a"):
        with pytest.raises(ToolkitError, match="starts with https://"):
            handler.redirect_request(secure, io.BytesIO(), 302, "Found", {}, target)
    followed = handler.redirect_request(secure, io.BytesIO(), 302, "Found", {}, "https://cdn.example.net/b")
    assert followed.full_url == "https://cdn.example.net/b"


def test_redirects_to_another_host_and_in_a_circle(serve, tmp_path):
    other = serve(answer(DATA))
    server = serve(answer(status="302 Found", Location=other.url))
    assert download(server.url, tmp_path / "weights.pth", sha256=SHA256).read_bytes() == DATA
    (tmp_path / "weights.pth").unlink()
    circle = serve(*[answer(status="302 Found", Location="/weights.pth")] * 20)
    assert "cannot be downloaded" in refused(circle.url, tmp_path)


def test_only_http_is_downloaded(tmp_path):
    (tmp_path / "secret").write_bytes(DATA)
    for url in (f"file://{tmp_path}/secret", "ftp://x/y", "weights.pth"):
        assert "starts with https://" in refused(url, tmp_path, left=["secret"])


def test_web_page_in_the_place_of_weights(serve, tmp_path):
    page = answer(b"<html>please log in</html>", Content_Type="text/html; charset=utf-8")
    (tmp_path / "weights.pth.part").write_bytes(DATA[:1000])
    server = serve(page, answer(DATA[1000:], "206 Partial Content", Content_Range=f"bytes 1000-16383/{len(DATA)}"))
    assert "sent a web page; log in to the network" in refused(server.url, tmp_path, left=["weights.pth.part"])
    assert download(server.url, tmp_path / "weights.pth", sha256=SHA256).read_bytes() == DATA  # nothing was lost


def test_body_without_an_end(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "LARGEST", 5_000_000)

    def endless(connection, stopped):
        connection.sendall(answer(length=False))
        while not stopped.is_set():
            connection.sendall(bytes(1 << 16))

    assert "expected at most 5000000 bytes" in refused(serve(endless).url, tmp_path)

    def chunks(connection, stopped):
        connection.sendall(answer(length=False, Transfer_Encoding="chunked"))
        while not stopped.is_set():
            connection.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n")

    assert "expected at most 5000000 bytes" in refused(serve(chunks).url, tmp_path)


def test_huge_stated_sizes(serve, tmp_path):
    for length in (10**13, 2**63, "9" * 4000, -1):
        server = serve(*[answer(DATA, length=length)] * 3)
        with pytest.raises(ToolkitError) as caught:
            download(server.url, tmp_path / "weights.pth", sha256="0" * 64)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
        for path in tmp_path.iterdir():
            assert path.stat().st_size <= len(DATA)
            path.unlink()


def test_slow_drip(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PATIENCE", 0.3)
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)

    def drip(connection, stopped):
        connection.sendall(answer(length=10_000_000))
        while not stopped.wait(0.05):
            connection.sendall(b"x")

    sentence = refused(serve(drip, drip).url, tmp_path, left=["weights.pth.part"])
    assert "broke off 2 times (only" in sentence


def test_silence(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    silent = serve(*[lambda connection, stopped: stopped.wait(20)])
    assert "broke off 3 times" in refused(silent.url, tmp_path)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\0\xff" * 500,
        b"HTTP/1.1 999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500,
        b"HTTP/1.1 200 OK\r\nA",
    ],
)
def test_no_http(serve, tmp_path, reply):
    refused(serve(*[reply] * 3).url, tmp_path, left=set(path.name for path in tmp_path.iterdir()))


def test_lying_about_lengths(serve, tmp_path):
    for length in (len(DATA) - 1, 0):  # less than what is sent
        assert "expected a file with SHA-256" in refused(serve(answer(DATA, length=length)).url, tmp_path)
    longer = answer(DATA, length=len(DATA) + 1)  # and then the connection ends
    nothing_more = answer(status="416 Range Not Satisfiable")
    assert "the server answered 416" in refused(serve(longer, nothing_more, nothing_more).url, tmp_path)


def test_lying_about_ranges(serve, tmp_path):
    part = tmp_path / "weights.pth.part"
    rest = DATA[1000:]
    for status, headers in (
        ("206 Partial Content", {"Content_Range": "bytes 0-15383/16384"}),
        ("206 Partial Content", {"Content_Range": "bytes 1000-16383/*"}),
        ("206 Partial Content", {"Content_Range": "bytes 1000-16383/" + "9" * 4000}),
        ("206 Partial Content", {}),
    ):
        part.write_bytes(DATA[:1000])
        wrong = answer(rest, status, **headers)
        assert "broke off 3 times (the server resumed at byte" in refused(
            serve(wrong, wrong, wrong).url, tmp_path, left=[part.name]
        )
        assert part.read_bytes() == DATA[:1000]
    longer = answer(rest + b"more", "206 Partial Content", Content_Range=f"bytes 1000-16383/{len(DATA)}")
    assert "more came" in refused(serve(longer).url, tmp_path)
    part.write_bytes(DATA[:1000])
    assert download(serve(answer(DATA)).url, tmp_path / "weights.pth", sha256=SHA256).read_bytes() == DATA  # 200


def test_packed_although_nobody_asked(serve, tmp_path):
    packed = answer(gzip.compress(bytes(10_000_000)), Content_Encoding="gzip")
    assert "expected a file with SHA-256" in refused(serve(packed).url, tmp_path)


def bomb(size, name="model.onnx"):
    """A zip archive whose member states `size` bytes of zeros and holds a few megabytes of them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(5_000_000))
    data = made.getvalue()
    return data.replace((5_000_000).to_bytes(4, "little"), size.to_bytes(4, "little"))


@pytest.mark.parametrize("size", [(1 << 32) - 2, 10])
def test_archives_that_unpack_to_more(serve, tmp_path, size, monkeypatch):
    monkeypatch.setattr("toolkit.fetch.downloads.LARGEST", 1 << 30)
    server = serve(answer(bomb(size)), answer(bomb(size)))
    url = server.url.replace("weights.pth", "pack.zip")
    started = time.process_time()
    with pytest.raises(ToolkitError, match="was damaged and has been deleted"):
        fetch_file(RemoteFile(url, "0" * 64, "model.onnx"), tmp_path)
    with pytest.raises(ToolkitError, match="was damaged and has been deleted"):
        fetch_file(RemoteFile(url), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert time.process_time() - started < 20


def test_encrypted_and_unknown_archives(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", DATA)
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\1\2")
    for place, value in ((central + 8, 1), (6, 1)):  # the flag "encrypted" in both headers
        data[place] |= value
    path.write_bytes(data)
    assert not is_sound(path, RemoteFile("http://x/a.zip"))
    data[central + 8] = data[6] = 0
    data[central + 10] = data[8] = 97  # no known compression
    path.write_bytes(data)
    assert not is_sound(path, RemoteFile("http://x/a.zip"))


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"<html>please log in</html>", Content_Type="text/html"),
        answer(b'{"half": ', Content_Type="application/json"),
        answer(b'{"siblings": 3}', Content_Type="application/json"),
        answer(b"[" * 100_000, Content_Type="application/json"),
        answer(status="302 Found", Location="file:///etc/hostname"),
        answer(status="500 Oops"),
        b"\0\1\2",
    ],
)
def test_a_hub_that_is_none(serve, tmp_path, monkeypatch, reply):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # its client waits between attempts
    server = serve(*[reply] * 40)
    part = {"class_name": "UNet2DConditionModel", "repository": "tiny/backbone", "revision": "0" * 40}
    others = {
        "vae": part | {"class_name": "AutoencoderKL"},
        "text_encoder": part | {"class_name": "ConstantTextEncoder"},
        "scheduler": part | {"class_name": "DDIMScheduler"},
    }
    spec = BackboneSpec.model_validate({"name": "remote", "resolution": 64, "unet": part, **others})
    with pytest.raises(ToolkitError) as caught:
        fetch_backbone(spec, ["unet"], endpoint=server.url.rsplit("/", 1)[0])
    assert "\n" not in str(caught.value) and "tiny/backbone" in str(caught.value), caught.value
