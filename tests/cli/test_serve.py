"""`mpsheads serve`, in a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.cli.conftest import WORDS


@pytest.fixture
def index(command, model_folder, tmp_path):
    texts = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in ("head", "gate")]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    options = ("--bytes", 16, "--encoder", model_folder, "--output", tmp_path / "idx")
    assert command("index", tmp_path / "texts.txt", "--keep-vectors", *options).code == 0
    return tmp_path / "idx"


@pytest.mark.slow
def test_an_index_is_served_until_it_is_interrupted(index, fails, model_folder):
    program = [sys.executable, "-m", "mpsheads.cli", "serve", str(index), "--port", "0"]
    secret = {**os.environ, "MPSHEADS_TOKEN": "s3cret"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, env=secret, **pipes) as process:
        said = process.stdout.readline()
        address = said.split()[4].rstrip(";")
        bearing = {"Authorization": "Bearer s3cret"}
        asked = urllib.request.Request(f"{address}/health", headers=bearing)
        with urllib.request.urlopen(asked) as answer:
            health = json.loads(answer.read())
        port = address.rsplit(":", 1)[1]
        taken = fails("serve", index, "--port", port)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert health["passages"] == 200
    assert health["uncompressed_bytes_per_passage"] == 4 * 48
    assert health["encoder"] == model_folder.name
    assert taken == f"Error: `--port` {port} of 127.0.0.1 cannot be had: Address already in use.\n"
    assert said == f"{index} is served at {address}; Ctrl-C ends it\n"
    assert (process.returncode, out, err) == (0, "", "")


def test_what_cannot_be_served_is_said_in_one_line(fails, tmp_path):
    assert "is no index" in fails("serve", tmp_path, "--port", 0)
    assert "`--port` 70000 of 127.0.0.1 cannot be had" in fails("serve", tmp_path, "--port", 70000)
    assert "cannot be had: " in fails("serve", tmp_path, "--host", "nowhere.invalid")
    assert "is no index" in fails("serve", tmp_path, "--host", "::1") or not socket.has_ipv6
