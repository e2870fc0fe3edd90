"""`rnnlab serve` as a process: options, streams, draining, kill and restart."""

import json
import os
import signal
import subprocess
import sys

import httpx
import numpy as np
import pytest
from serve.models import VOCABULARY, needs_server, text_alone, text_model

from rnnlab.bundle import Description, Sizes, write_bundle
from rnnlab.cli.main import main
from rnnlab.models.config import ModelConfig
from rnnlab.models.parameters import named_parameters
from rnnlab.serve.audit import check_chain
from rnnlab.tasks.text_preparation import TextPreparation

pytestmark = needs_server

STREAM = "/v2/models/letters/generate_stream"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle of the small model of text."""
    return write_letters(tmp_path_factory.mktemp("bundles") / "letters", text_model())


def write_letters(folder, model):
    """Writes a bundle of a model of text and returns its path."""
    size = len(VOCABULARY)
    description = Description(
        folder.name,
        ModelConfig("mingru", width=8, depth=1, mlp_expansion=None),
        Sizes(size, vocab_size=size),
        "categorical",
        autoregressive=True,
        vocabulary=VOCABULARY,
        preparation=TextPreparation(VOCABULARY, window=8, batch_size=2),
    )
    arrays = {name: np.asarray(x) for name, x in named_parameters(model).items()}
    return write_bundle(folder, description, arrays).path


class Server:
    """A process of `rnnlab serve` with one slot."""

    def __init__(self, *words):
        words = ["serve", *map(str, words), "--port", "0", "--slots", "1"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rnnlab.cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("serving"):
                break
        assert self.lines[-1].startswith("serving "), "".join(self.lines)
        self.url = self.lines[-1].split()[-1]

    def end(self, number):
        """Sends a signal. Returns the exit code and the rest of the output."""
        self.process.send_signal(number)
        with self.process.stdout:
            rest = self.process.stdout.read()
        return self.process.wait(timeout=60), rest


def texts(response):
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])["text_output"]


def test_command_serves_a_bundle_and_drains_at_sigterm(bundle, tmp_path):
    audit = tmp_path / "audit.jsonl"
    server = Server(bundle, "--audit", str(audit))
    body = {"text_input": "abc", "parameters": {"max_tokens": 2000, "seed": 1}}
    with (
        httpx.Client(base_url=server.url, timeout=60) as client,
        client.stream("POST", STREAM, json=body) as response,
    ):
        found = [next(events := texts(response))]
        server.process.send_signal(signal.SIGTERM)
        found += events
    assert "".join(found) == text_alone(text_model(), "abc", 2000, seed=1)
    assert server.end(0) == (0, "stopped\n")
    assert check_chain(audit).records == 3


@pytest.mark.slow
def test_command_splits_sessions_between_two_bundles(bundle, tmp_path):
    """A session gets the same version each time, whatever process serves it."""
    other = write_letters(tmp_path / "other", text_model(1))
    models = {"1": text_model(), "2": text_model(1)}
    seen = []
    for _ in range(2):
        server = Server(bundle, other, "--split", "0.5,0.5", "--name", "letters")
        versions = {}
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for session in map(str, range(16)):
                parameters = {"max_tokens": 20, "seed": 3, "session_id": session}
                body = {"text_input": "abc", "parameters": parameters}
                answer = client.post("/v2/models/letters/generate", json=body).json()
                number = versions[session] = answer["model_version"]
                assert answer["text_output"] == text_alone(models[number], "abc", 20, seed=3)
        assert server.end(signal.SIGTERM) == (0, "stopped\n")
        assert set(versions.values()) == {"1", "2"}
        seen.append(versions)
    assert seen[0] == seen[1]


@pytest.mark.slow
def test_killed_server_starts_again_with_the_same_audit_log(bundle, tmp_path):
    audit = tmp_path / "audit.jsonl"
    killed = Server(bundle, "--audit", str(audit))
    with httpx.Client(base_url=killed.url, timeout=60) as client:
        body = {"text_input": "abc", "parameters": {"max_tokens": 100}}
        client.post(STREAM, json=body).raise_for_status()
    assert killed.end(signal.SIGKILL)[0] == -signal.SIGKILL
    with audit.open("a") as file:
        file.write('{"event": "gen')

    again = Server(bundle, "--audit", str(audit))
    assert again.end(signal.SIGINT)[0] == 0
    events = [json.loads(line)["event"] for line in audit.read_text().splitlines()]
    assert events[0] == "start"
    assert events[-2:] == ["start", "stop"]
    assert check_chain(audit).torn == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--slots", "0"), "slots must be"),
        (("--timeout", "-1"), "timeout must be > 0"),
        (("--engine", "tpu"), "engine must be one of"),
        (("--port", "70000"), "port must be in 0 to 65535"),
        (("--host", "not a host"), "host must be an address"),
        (("--split", "0.5,0.5"), "split must be 1 positive numbers"),
        (("--split", "half"), "split must be numbers"),
        (("--admin-token", "missing"), "missing"),
    ],
)
def test_invalid_option_is_an_error_of_one_line(bundle, capsys, options, message):
    assert main(["serve", str(bundle), "--port", "0", *options]) != 0
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_onnx_engine_without_its_file_is_an_error_of_one_line(bundle, capsys):
    assert main(["serve", str(bundle), "--port", "0", "--engine", "onnx"]) != 0
    assert "rnnlab export" in capsys.readouterr().err


def test_folder_that_is_not_a_bundle_is_an_error_of_one_line(tmp_path, capsys):
    assert main(["serve", str(tmp_path), "--port", "0"]) != 0
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_token_that_others_can_read_is_refused(bundle, tmp_path, capsys):
    token = tmp_path / "token"
    token.write_text("a-long-secret-token")
    token.chmod(0o644)
    assert main(["serve", str(bundle), "--port", "0", "--admin-token", str(token)]) != 0
    assert "chmod 600" in capsys.readouterr().err
