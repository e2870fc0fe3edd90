"""The page that generates text in a browser: its content, and its text in headless Chromium."""

import base64
import gzip
import html
import json
import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from urllib.parse import quote

import jax
import numpy as np
import pytest
from flax import nnx

from rnnlab import generate
from rnnlab.bundle import Description, Sizes, write_bundle
from rnnlab.cli.main import main
from rnnlab.export.browser import RUNTIME_FILES, browser_page
from rnnlab.models import ModelConfig
from rnnlab.models.parameters import named_parameters
from rnnlab.tasks.text_preparation import TextPreparation, byte_name, decode, encode

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CHARACTERS = tuple('\n abc<&"é😀xy')
BYTES = tuple(map(byte_name, sorted("aé z\n€bcd".encode())))


def text_bundle(folder, cell="gru", seed=2, vocabulary=CHARACTERS, **fields):
    """A bundle whose greedy text has many symbols, and its model."""
    sizes = Sizes(len(vocabulary), vocab_size=len(vocabulary))
    config = ModelConfig(cell, width=8, depth=2, conv_kernel_size=2, mlp_expansion=None)
    model = config.build(**vars(sizes), rngs=nnx.Rngs(seed))
    model.eval()
    fields = {
        "autoregressive": True,
        "vocabulary": vocabulary,
        "preparation": TextPreparation(vocabulary, window=8, batch_size=2),
        "source": {"task": "Text"},
        **fields,
    }
    description = Description("small", config, sizes, "categorical", ("nll",), **fields)
    arrays = {name: np.asarray(x) for name, x in named_parameters(model).items()}
    return write_bundle(folder / "bundle", description, arrays), model


def embedded(page, element):
    """The JSON of an element of a page."""
    found = re.search(f'<script type="application/json" id="{element}">(.*?)</script>', page)
    return json.loads(found.group(1))


def test_page_holds_vocabulary_carry_and_model(tmp_path):
    bundle, _ = text_bundle(tmp_path)
    (tmp_path / "ort").mkdir()
    for name in RUNTIME_FILES.values():
        (tmp_path / "ort" / name).write_text(name)
    page = browser_page(bundle, tmp_path / "ort").decode()
    about = embedded(page, "model")
    assert about["name"] == "small"
    assert about["vocabulary"] == list(CHARACTERS)
    assert about["carry"][0] == {"name": "carry.0", "shape": [1, 1, 8], "value": 0.0}
    content = gzip.decompress(base64.b64decode(about["content"]))
    assert content.startswith(b"\x08")  # the first field of an ONNX file
    runtime = embedded(page, "runtime")
    assert gzip.decompress(base64.b64decode(runtime["module"])) == RUNTIME_FILES["module"].encode()
    assert not re.search(r"https?://", page), "the page must load nothing from elsewhere"


def test_export_command_adds_a_page_to_the_bundle(tmp_path, capsys):
    bundle, _ = text_bundle(tmp_path)
    assert main(["export", str(bundle.path), "--format", "browser"]) == 0
    assert embedded((bundle.path / "page.html").read_text(), "runtime") is None
    assert main(["export", str(bundle.path), "--format", "browser", "--runtime", "nowhere"]) == 2
    assert "runtime must be a folder with the file ort.wasm" in capsys.readouterr().err


def test_page_of_a_model_without_next_symbols_is_refused(tmp_path):
    bundle, _ = text_bundle(tmp_path, autoregressive=False)
    with pytest.raises(ValueError, match="predicts the next symbol of a text"):
        browser_page(bundle)


def runtime_folder():
    """The folder of onnxruntime-web: of the environment, or of `npm install` in the repository."""
    installed = Path(__file__).parents[2] / "node_modules/onnxruntime-web/dist"
    folder = Path(os.environ.get("ONNXRUNTIME_WEB", installed))
    if not all((folder / name).is_file() for name in RUNTIME_FILES.values()):
        pytest.skip("onnxruntime-web is missing: run `npm install --no-save onnxruntime-web`")
    return folder


WATCH = """
<script>
{
  const status = document.getElementById("status");
  const post = () => {
    if (status.className !== "wrong" && !/^(Done|Stopped)/.test(status.textContent)) return;
    observer.disconnect();
    fetch("ADDRESS", { method: "POST", mode: "no-cors", body: document.body.outerHTML });
  };
  const observer = new MutationObserver(post);
  observer.observe(status, { attributes: true, childList: true });
  post();
}
</script>
"""
"""What is added to a page: it posts the body when the status is final, however long that takes."""


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        size = int(self.headers["Content-Length"])
        self.server.bodies.put(self.rfile.read(size).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        """Prints nothing."""


def opened_page(content, folder, **fields):
    """The elements of a page by id, after it has run with these fields in headless Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is missing")
    page = folder / "page.html"
    given = "&".join(f"{name}={quote(str(value))}" for name, value in fields.items())
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={folder / 'profile'}", f"{page.as_uri()}#{given}&run"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.bodies = Queue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        page.write_bytes(content + WATCH.replace("ADDRESS", address).encode())
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            body = server.bodies.get(timeout=300)
        finally:
            process.terminate()
            process.wait(60)
            server.shutdown()
    spans = re.findall(r'<span id="(\w+)"[^>]*>(.*?)</span>', body, re.DOTALL)
    return {name: html.unescape(text) for name, text in spans}


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        ({}, 'a<b &"é😀x'),
        pytest.param({"vocabulary": BYTES}, "aé €\n", marks=pytest.mark.slow),
    ],
    ids=["characters", "bytes"],
)
def test_greedy_text_in_a_browser_is_that_of_generate(tmp_path, model, prompt):
    runtime = runtime_folder()
    bundle, model = text_bundle(tmp_path, **model)
    ids = encode(prompt, bundle.vocabulary)
    tokens = generate(model, jax.numpy.asarray(ids), 120, jax.random.key(0), temperature=0)
    text = decode(np.asarray(tokens), bundle.vocabulary)
    assert len(set(text)) >= 5, "the text must vary"
    found = opened_page(
        browser_page(bundle, runtime), tmp_path, prompt=prompt, length=120, temperature=0
    )
    assert found["status"].startswith("Done: 120 symbols"), found["status"]
    assert (found["given"], found["generated"]) == (prompt, text)


@pytest.mark.slow
def test_prompt_with_an_unknown_symbol_is_named_on_the_page(tmp_path):
    bundle, _ = text_bundle(tmp_path)
    found = opened_page(browser_page(bundle, runtime_folder()), tmp_path, prompt="aQ")
    assert found["status"].startswith("The prompt must consist of the 12 symbols")
    assert found["generated"] == ""
