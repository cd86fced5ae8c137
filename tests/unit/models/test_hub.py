"""The hub: ids, refusals and downloads, against a small server with the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from attnviz.errors import AttnVizError
from attnviz.models import hub
from attnviz.models.loader import load

ROOT = Path(__file__).parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "name",
    [
        "../etc/passwd",
        "a/../b",
        "a/b/c",
        "/absolute",
        "https://huggingface.co/gpt2",
        "file:///etc/passwd",
        "user@host/model",
        "a b",
        "-x/y",
        "a/-y",
        "a--b/c",
        "a/b.git",
        "a/b?x=1",
        "a/b#c",
        "a\\b",
        "naïve/model",
        "a/b\n",
        "",
        "/",
        "x" * 200,
    ],
)
def test_names_that_cannot_be_an_id(name: str) -> None:
    with pytest.raises(AttnVizError, match="form of a Hugging Face id"):
        hub.fetch(name)


@pytest.mark.parametrize("name", ["gpt2", "openai-community/gpt2", "a/B_c.d-1.5", "01-ai/Yi-6B"])
def test_names_that_can_be_an_id(name: str) -> None:
    hub.check_id(name)


@pytest.mark.parametrize("revision", ["../main", "", "a b", "-x", "a..b", "x" * 200])
def test_names_that_cannot_be_a_revision(revision: str) -> None:
    with pytest.raises(AttnVizError, match="form of a revision"):
        hub.fetch("gpt2", revision)


def test_offline_is_one_error_message() -> None:  # tests/conftest.py sets the offline mode
    with pytest.raises(AttnVizError, match="not on this machine, and offline mode is set"):
        load("nobody-here/no-such-model", device="cpu")


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that downloads use, serving folders of files."""

    root: Path
    requested: list[str]

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            self.describe("/".join(parts[2:4]), "tree" in parts)
        elif len(parts) > 4 and parts[2] == "resolve":
            self.requested.append(parts[-1])
            self.send(self.root / parts[0] / parts[1] / parts[-1], body)
        else:
            self.send_error(404)

    def describe(self, name: str, tree: bool) -> None:
        folder = self.root / name
        if name == "owner/gated":
            self.send_response(403)
            self.send_header("X-Error-Code", "GatedRepo")
            self.end_headers()
            return
        if not folder.is_dir():
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            return
        files = sorted(folder.iterdir())
        if tree:
            answer: object = [
                {"type": "file", "path": f.name, "size": size(f), "oid": digest(f)} for f in files
            ]
        else:
            siblings = [{"rfilename": f.name, "size": size(f), "blobId": digest(f)} for f in files]
            answer = {"id": name, "sha": COMMIT, "siblings": siblings}
        raw = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def send(self, file: Path, body: bool) -> None:
        raw = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("ETag", f'"{digest(file)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(raw)


def size(file: Path) -> int:
    """The file's size, or the one that the test wants the hub to claim."""
    claimed = file.with_suffix(".claimed")
    return int(claimed.read_text()) if claimed.exists() else file.stat().st_size


def digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """A local hub: its address, its folder of models, and the files requested from it."""
    root = tmp_path / "hub"
    requested: list[str] = []
    handler = type("Served", (Hub,), {"root": root, "requested": requested})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}", root, requested
    httpd.shutdown()
    thread.join()
    httpd.server_close()


SCRIPT = """
import json, sys, time
from attnviz.errors import AttnVizError
from attnviz.models.loader import load
for name in sys.argv[1:]:
    began = time.monotonic()
    try:
        loaded = load(name, device="cpu")
        said = {"revision": loaded.revision, "notes": loaded.notes, "name": loaded.name}
    except AttnVizError as error:
        said = {"error": str(error)}
    print(json.dumps(said | {"seconds": time.monotonic() - began}))
"""


def in_a_process(endpoint: str, home: Path, *names: str) -> list[dict[str, object]]:
    """The result of `load` for each name, with the hub at `endpoint`."""
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
    }
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_downloads_and_refusals(
    server: tuple[str, Path, list[str]], gpt2_folder: Path, tmp_path: Path
) -> None:
    endpoint, root, requested = server
    good, pickled, huge = (root / "owner" / name for name in ("good", "pickled", "huge"))
    for folder in (good, pickled, huge):
        folder.mkdir(parents=True)
        for file in gpt2_folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    for name in ("pytorch_model.bin", "model.onnx", "own.py", "vocab.pkl"):
        (good / name).write_bytes(b"never to be fetched")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    (huge / "model.claimed").write_text(str(2**50))

    names = ["owner/good", "owner/pickled", "owner/huge", "owner/gated", "owner/none"]
    home = tmp_path / "home"
    found, only_pickles, too_big, gated, none = in_a_process(endpoint, home, *names)
    assert (found["revision"], found["name"]) == (COMMIT, "owner/good")
    wanted = {"config.json", "generation_config.json", "model.safetensors"}
    assert set(requested) == wanted
    assert "only pickle weights" in str(only_pickles["error"])
    assert "needs about 1,205,862.6 GiB of memory" in str(too_big["error"])
    assert "accepting its terms" in str(gated["error"])
    assert "has no model 'owner/none'" in str(none["error"])

    # With the hub gone, downloaded models still load, and others fail at once.
    cached, missing = in_a_process("http://127.0.0.1:9", home, "owner/good", "owner/other")
    assert cached.get("revision") == COMMIT, cached
    assert any("could not be reached" in note for note in cached["notes"])  # type: ignore[attr-defined]
    assert "not on this machine, and the hub could not be reached" in str(missing["error"])
    # a closed port answers at once; the limit is for one that never answers
    assert float(str(missing["seconds"])) < hub.TIMEOUT + 5
