"""A bundle is read by numpy, json and safetensors, in a process without rnnlab, JAX and Flax."""

import json
import subprocess
import sys
from pathlib import Path

READER = """
import sys
for name in ("rnnlab", "jax", "jaxlib", "flax", "orbax", "pickle5"):
    sys.modules[name] = None  # importing it is an error

import hashlib, json
from pathlib import Path
from safetensors.numpy import load_file

folder = Path(sys.argv[1])
text = (folder / "bundle.json").read_bytes()
bundle = json.loads(text)
digest = bundle["digest"].encode()
assert hashlib.sha256(text.replace(digest, b"0" * 64)).hexdigest().encode() == digest
for name, record in bundle["files"].items():
    content = (folder / name).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (record["size"], record["sha256"])
arrays = load_file(folder / "model.safetensors")
assert {name: list(x.shape) for name, x in arrays.items()} == {
    name: parameter["shape"] for name, parameter in bundle["parameters"].items()
}
json.loads((folder / "reference.json").read_text())
print(json.dumps({
    "cell": bundle["architecture"]["cell"],
    "width": bundle["architecture"]["width"],
    "vocabulary": bundle["preparation"]["vocabulary"],
    "state": bundle["state"],
    "sums": {name: float(x.astype("float64").sum()) for name, x in arrays.items()},
}))
"""


def test_bundle_is_read_without_rnnlab(written, arrays):
    command = [sys.executable, "-c", READER, str(written.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    assert (found["cell"], found["width"]) == ("mingru", 4)
    assert found["vocabulary"] == ["a", "b", "c"]
    assert found["state"] == [{"name": "carry.0", "dtype": "float32", "shape": [4]}]
    assert found["sums"] == {name: float(x.astype("float64").sum()) for name, x in arrays.items()}


def test_package_of_bundles_has_no_pickle_and_executes_no_text():
    import rnnlab.bundle

    for path in Path(rnnlab.bundle.__file__).parent.glob("*.py"):
        text = path.read_text()
        for word in ("import pickle", "allow_pickle=True", "eval(text", "exec(", "marshal"):
            assert word not in text, path
