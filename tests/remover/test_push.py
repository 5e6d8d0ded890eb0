"""`toolkit push` with the real client and a local Hub: large files, branches, refusals, no network."""

import base64
import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from huggingface_hub import constants

from toolkit.cli import main
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.remover import push_remover, read_remover
from toolkit.remover.layout import RECORD

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_test"


class Hub(ThreadingHTTPServer):
    """Models by name: `private`, and `branches` with the bytes of their files.

    `refuse` maps the beginning of ``METHOD path`` to status and message, `cut` closes the connection instead.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.models, self.stored, self.refuse, self.cut, self.seen, self.messages = {}, {}, {}, set(), [], []

    def handle_error(self, request, client_address):
        """A client that went away is no problem of the server's."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, name, private, files=()):
        self.models[name] = {"private": private, "branches": {"main": {".gitattributes": b"", **dict(files)}}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.handle_request()

    do_POST = do_PUT = do_GET

    def handle_request(self):
        hub, path = self.server, unquote(urlsplit(self.path).path)
        body = self.body()
        line = f"{self.command} {path}"
        hub.seen.append(line)
        if any(line.startswith(start) for start in hub.cut):
            self.close_connection = True
            return
        for start, (status, message) in hub.refuse.items():
            if line.startswith(start):
                self.answer({"error": message}, status, message)
                return
        if not path.startswith("/lfs/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "Invalid username or password."}, 401, "Invalid username or password.")
            return
        for pattern, action in ROUTES:
            if match := re.fullmatch(pattern, line):
                action(self, body, *match.groups())
                return
        self.answer({"error": "no such route"}, 404)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, value, status=200, message=None):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if message:
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def create(self, body):
        wanted = json.loads(body)
        name = f"{wanted['organization']}/{wanted['name']}"
        url = f"{self.server.url}/{name}"
        if name in self.server.models:
            self.answer({"url": url, "error": "You already created this model repo"}, 409)
            return
        # Older clients say `private`, newer ones `visibility`.
        self.server.add(name, wanted.get("private", False) or wanted.get("visibility") == "private")
        self.answer({"url": url})

    def info(self, body, name):
        model = self.server.models.get(name)
        if model is None:
            self.answer({"error": "Repository not found"}, 404, "Repository not found")
            return
        self.answer({"id": name, "private": model["private"], "sha": COMMIT, "siblings": []})

    def branch(self, body, name, branch):
        branches = self.server.models[name]["branches"]
        new = branch not in branches
        branches.setdefault(branch, dict(branches["main"]))
        self.answer({}, 200 if new else 409)

    def tree(self, body, name, branch):
        files = self.server.models[name]["branches"][branch]
        self.answer([{"type": "file", "path": path, "size": 1, "oid": COMMIT} for path in files])

    def check_card(self, body):
        front = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
        errors = [] if "license" in front else [{"message": '"license" is required'}]
        self.answer({"errors": errors, "warnings": []}, 400 if errors else 200)

    def modes(self, body, name, branch):
        def mode(path):
            return "lfs" if path.endswith((".safetensors", ".jpg", ".png")) else "regular"

        files = [item["path"] for item in json.loads(body)["files"]]
        self.answer({"files": [{"path": path, "uploadMode": mode(path), "shouldIgnore": False} for path in files]})

    def batch(self, body, name):
        objects = json.loads(body)["objects"]
        for one in objects:
            if one["oid"] not in self.server.stored:
                one["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{one['oid']}"}}
        self.answer({"objects": objects})

    def store(self, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.stored[oid] = body
        self.answer({})

    def commit(self, body, name, branch):
        files = self.server.models[name]["branches"][branch]
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                self.server.messages.append(value["summary"])
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        self.answer({"commitUrl": f"{self.server.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT})


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    ("POST /api/repos/create", Handler.create),
    (f"GET /api/models/{NAME}(?:/revision/[^/]+)?", Handler.info),
    (f"POST /api/models/{NAME}/branch/(.+)", Handler.branch),
    (f"GET /api/models/{NAME}/tree/(.+)", Handler.tree),
    ("POST /api/validate-yaml", Handler.check_card),
    (f"POST /api/models/{NAME}/preupload/(.+)", Handler.modes),
    (rf"POST /{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT /lfs/(.+)", Handler.store),
    (f"POST /api/models/{NAME}/commit/(.+)", Handler.commit),
)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A local Hub that the client uses, with its own token."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with Hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield hub
        hub.shutdown()


def test_new_repository(hub, remover, capsys):
    (remover / "README.md").write_text((remover / "README.md").read_text().replace("plausible", "probable"))
    assert main(["push", str(remover), "--repo", "me/glasses"]) == 0
    assert capsys.readouterr().out.strip() == f"{hub.url}/me/glasses"
    model = hub.models["me/glasses"]
    assert model["private"] is True
    files = dict(model["branches"]["main"])
    del files[".gitattributes"]
    names = {RECORD, *read_remover(remover).record.files}
    assert files == {name: (remover / name).read_bytes() for name in names}, "a file of the training, or one is absent"
    assert hub.messages == ["Remover of glasses, stickers, step 750"]
    assert len(hub.stored) == 3, "weights and pictures go as large files"


def test_the_upload_is_a_remover(hub, remover, tmp_path):
    push_remover(remover, "me/glasses")
    for name, data in hub.models["me/glasses"]["branches"]["main"].items():
        path = tmp_path / "downloaded" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert read_remover(tmp_path / "downloaded").record == read_remover(remover).record


def test_again_on_a_branch(hub, remover, capsys):
    old = {"controlnet/diffusion_pytorch_model.bin": b"", "images/old.png": b"", "notes.md": b"mine"}
    hub.add("me/glasses", True, old)
    words = ["--revision", "v2", "--message", "second try"]
    for _ in range(2):
        assert main(["push", str(remover), "--repo", "me/glasses", *words]) == 0
    assert capsys.readouterr().out.split() == [f"{hub.url}/me/glasses/tree/v2"] * 2
    branches = hub.models["me/glasses"]["branches"]
    assert set(branches["main"]) == {".gitattributes", *old}
    assert set(branches["v2"]) == {".gitattributes", "notes.md", RECORD, *read_remover(remover).record.files}
    assert hub.messages[0] == "second try"
    assert len([line for line in hub.seen if line.startswith("PUT /lfs/")]) == 3, "what is there was sent again"


def test_public_only_on_request(hub, remover):
    hub.add("me/open", False)
    with pytest.raises(UsageError, match=r"the repository me/open is public: .* --no-private"):
        push_remover(remover, "me/open")
    assert set(hub.models["me/open"]["branches"]["main"]) == {".gitattributes"} and not hub.stored
    assert main(["push", str(remover), "--repo", "me/open", "--no-private"]) == 0
    assert main(["push", str(remover), "--repo", "me/new", "--no-private"]) == 0
    assert RECORD in hub.models["me/open"]["branches"]["main"] and hub.models["me/new"]["private"] is False


@pytest.mark.parametrize(
    "name", ["glasses", "a/b/c", "/x", "x/", "me/gla sses", "me/--x", "me/" + "x" * 100, "me/x.git"]
)
def test_invalid_name(hub, remover, name):
    with pytest.raises(UsageError, match="--repo") as caught:
        push_remover(remover, name)
    assert "\n" not in str(caught.value) and not hub.seen


def test_a_damaged_remover_is_not_uploaded(hub, remover):
    (remover / "images" / "grid.jpg").write_bytes(b"another")
    with pytest.raises(InputError, match="is damaged or was changed"):
        push_remover(remover, "me/glasses")
    assert not hub.seen


def test_nobody_logged_in(hub, remover, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(remover), "--repo", "me/glasses"]) == 1
    assert capsys.readouterr().err == "error: nobody is logged in to the Hugging Face Hub: run `hf auth login`\n"
    assert not hub.seen


@pytest.mark.parametrize(
    ("start", "status", "message", "sentence"),
    [
        ("POST /api/repos/create", 401, "Invalid credentials in Authorization header", "does not accept the login"),
        ("", 403, "You need write access", r"no right to write to me/glasses \(.*write access.*\): use a token"),
        ("POST /api/models/me/glasses/preupload", 403, "no", "no right to write to me/glasses"),
        ("POST /me/glasses.git/info/lfs", 403, "storage is over", r"no right to write .*storage is over"),
        ("PUT /lfs/", 403, "expired", "no right to write to me/glasses"),
        ("GET /api/models/me/glasses/tree", 404, "gone", "the Hub has no me/glasses, or the login may not see it"),
        ("POST /api/models/me/glasses/commit", 500, "out of order", "me/glasses was not uploaded, the Hub says: "),
        ("POST /api/models/me/glasses/branch", 400, "Invalid ref name", "the Hub says: .*Invalid ref name"),
    ],
)
def test_refusal(hub, remover, start, status, message, sentence):
    hub.refuse[start] = status, message
    with pytest.raises(ToolkitError, match=sentence) as caught:
        push_remover(remover, "me/glasses", revision="v2")
    assert "\n" not in str(caught.value) and TOKEN not in str(caught.value)
    assert not hub.messages


def test_wrong_token(hub, remover, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(ToolkitError, match="does not accept the login for me/glasses: run `hf auth login`"):
        push_remover(remover, "me/glasses")


def test_card_that_the_hub_refuses(hub, remover):
    (remover / "README.md").write_text("---\ntags: []\n---\nmine\n")
    with pytest.raises(ToolkitError, match=r"me/glasses was not uploaded: Invalid metadata in README\.md.*license"):
        push_remover(remover, "me/glasses")


@pytest.mark.parametrize("start", ["POST /api/repos/create", "PUT /lfs/", "POST /api/models/me/glasses/commit"])
def test_connection_that_breaks_off(hub, remover, start):
    hub.cut.add(start)
    with pytest.raises(ToolkitError, match="cannot be reached, or the transfer broke off") as caught:
        push_remover(remover, "me/glasses")
    assert "\n" not in str(caught.value) and not hub.messages
    hub.cut.clear()
    assert push_remover(remover, "me/glasses") and len(hub.messages) == 1


def test_no_network(hub, remover, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{probe.getsockname()[1]}")
    with pytest.raises(ToolkitError, match=r"me/glasses was not uploaded: the Hub cannot be reached.*refused"):
        push_remover(remover, "me/glasses")


def test_no_repository_named(remover, capsys):
    assert main(["push", str(remover)]) == 2
    assert "--repo" in capsys.readouterr().err
