"""Steps of a model in headless Chromium, with ONNX Runtime Web."""

import json
import shutil
import subprocess
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("browser_timing.html")
SECONDS = 150


def run_in_browser(step_file: bytes, runtime: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Returns the loss and the times that a page in headless Chromium posts.

    Args:
      step_file: the ONNX file of a step.
      runtime: the folder `dist` of the npm package onnxruntime-web.
      plan: what `browser_timing.html` reads: `text`, `carry`, `vocabulary`, `steps` by number of
        streams, and `repeats`.

    Raises:
      RuntimeError: the page reports an error, or nothing within `SECONDS`.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "page").mkdir()
        shutil.copy(PAGE, folder / "page" / "index.html")
        (folder / "page" / "step.onnx").write_bytes(step_file)
        (folder / "page" / "plan.json").write_text(json.dumps(plan))
        (folder / "page" / "ort").symlink_to(runtime.resolve())
        received, server = _serve(folder / "page")
        address = f"http://127.0.0.1:{server.server_port}/index.html"
        options = ["--headless=new", "--no-sandbox", "--disable-gpu"]
        options.append(f"--user-data-dir={folder / 'profile'}")
        process = subprocess.Popen([browser, *options, address], stderr=subprocess.DEVNULL)
        try:
            if not received.wait(SECONDS):
                raise RuntimeError(f"the page must post results within {SECONDS} s, got none")
        finally:
            process.terminate()
            process.wait(30)
            server.shutdown()
    if "error" in server.results:
        raise RuntimeError(f"the page must compute, got {server.results['error']}")
    return server.results


def _serve(folder: Path) -> tuple[threading.Event, ThreadingHTTPServer]:
    """Serves a folder on a free port; sets the event when `server.results` were posted."""
    received = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self.server.results = json.loads(self.rfile.read(length))
            self.send_response(204)
            self.end_headers()
            received.set()

        def log_message(self, *args: Any) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return received, server
