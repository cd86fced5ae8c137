"""Nothing goes out: what the server's process connects to, listened to from its first line on."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from benchmarks.server import ROOT, serve

SECONDS = 120

# Python runs this before anything else. Each address that is connected to or looked up is noted.
LISTENER = """
import os, sys

def heard(event, args):
    if event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):
        note(args[1][0])
    elif event == "socket.getaddrinfo":
        note(args[0])

def note(host):
    with open(os.environ["HEARD"], "a") as file:
        file.write(f"{host}\\n")

note("listening")
sys.addaudithook(heard)
"""
OWN = {"127.0.0.1", "localhost", "::1", "0.0.0.0", "None"}


@pytest.mark.parametrize(
    ("page", "options"),
    [("Layer lab", ()), ("Train", ("--server.address", "0.0.0.0"))],
    ids=["alone", "opened"],
)
def test_nothing_goes_out_from_any_folder(
    tmp_path: Path, page: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(LISTENER)
    log = tmp_path / "heard"
    log.touch()
    paths = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "HEARD": str(log)}
    with serve(ROOT / "app.py", *options, folder=tmp_path, environment=paths) as address:
        visit(address, page)
        with pytest.raises(InvalidStatus):
            connect(stream(address), origin="http://elsewhere.example")
    heard = log.read_text().split()
    assert heard[:1] == ["listening"]
    assert set(heard[1:]) <= OWN


def visit(address: str, page: str) -> None:
    """Runs one page to its end, as a browser does."""
    shown = ""
    with connect(stream(address), origin=address, subprotocols=["streamlit"]) as socket:  # type: ignore[list-item]
        asked = BackMsg(rerun_script=ClientState(page_name=page.lower().replace(" ", "_")))
        socket.send(asked.SerializeToString())
        while True:
            message = ForwardMsg()
            message.ParseFromString(socket.recv(timeout=SECONDS))
            if message.WhichOneof("type") == "delta":
                element = message.delta.new_element
                shown += element.markdown.body + element.heading.body
            # what led to another page has another ending
            elif message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY and (
                message.WhichOneof("type") == "script_finished"
            ):
                break
    assert page in shown


def stream(address: str) -> str:
    return f"ws://{urlsplit(address).netloc}/_stcore/stream"
