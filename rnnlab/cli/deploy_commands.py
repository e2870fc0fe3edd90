"""The commands that write bundles of models, and those that take them, as in `commands.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class Bundle:
    """Write the model of a trained run to a folder that needs neither the run nor its data.

    The folder has the parameters of the best step, the architecture, the preparation of new data,
    statistics of the held-out data, and a card. `predict`, `sample`, `inspect`, `compare` and
    `verify` take it in place of a run. docs/deploy.md describes it.
    """

    folder: Positional[Path]
    """The run directory; or a bundle, to sign it."""
    out: Path | None = None
    """The folder, whose name is that of the model; default: bundles/EXPERIMENT-CELL-seedN."""
    license: str | None = None
    """License of the model, for the card."""
    question: str | None = None
    """Question that the model answers, for the card; default: that of the experiment, if it comes
    with rnnlab."""
    sign_key: Path | None = None
    """File with a private key of the curve P-256 (PEM), to sign the folder; needs the extra `sign`.
    """
    overwrite: bool = False
    """Replace an existing bundle."""
    strict: bool = False
    """Fail if the best checkpoint is corrupt instead of using the latest valid one."""


@dataclass(frozen=True)
class Export:
    """Write the model of a bundle as files that run without rnnlab, and add them to the bundle.

    Each file is compared with the model first; parity.json in the bundle reports the differences.
    If one is too large, nothing is written.
    """

    folder: Positional[Path]
    """The bundle."""
    format: str = "onnx"
    """Comma-separated formats: onnx, stablehlo, litert, litert-int8, browser."""
    step: bool = False
    """Write the file of one time step; default: both files, where the model has a step."""
    sequence: bool = False
    """Write the file of a sequence; default: both files, where the model has a step."""
    flags: str = ""
    """Comma-separated inputs to add: reset, which starts a new sequence within a batch, and mask,
    which marks padding."""
    runtime: Path | None = None
    """The folder dist of the npm package onnxruntime-web, to embed in the page of format browser;
    default: the page loads its files from the folder ort next to it."""
    out: Path | None = None
    """Write the files to this folder instead of the bundle."""


@dataclass(frozen=True)
class Quantize:
    """Store the weights of a model as integers of 8, 6 or 4 bits, in a bundle of its own.

    Prints the size and the loss, and for each weight the change of the loss when no other one is
    quantized, which shows what to keep. States and activations stay float32. The file is smaller;
    for speed export it, see docs/deploy.md.
    """

    folder: Positional[Path]
    """A bundle or a run directory."""
    bits: int = 8
    """Bits of a weight: 8, 6 or 4."""
    group: int | None = None
    """Inputs of an output channel that share a scale; 0: all. Default: 32 for 4 bits, else all."""
    keep: str | None = None
    """Comma-separated names of weights that stay float32, or parts of them, as in head."""
    leaf_bits: str | None = None
    """Comma-separated bits of some weights, as in head=8,embedding=6."""
    run: Path | None = None
    """Run on the data to measure the loss on; default: the run itself. Without data, as for a
    bundle, the loss is not measured."""
    tune_steps: int = 0
    """Updates of further training that takes the rounding into account; needs data."""
    sensitivity: bool = True
    """Measure the loss for each weight, one evaluation each."""
    out: Path | None = None
    """The folder of the bundle; default: that of the model with -int8 behind its name."""
    overwrite: bool = False
    """Replace an existing bundle."""


@dataclass(frozen=True)
class Prune:
    """Remove units of the minimal cells of a model, and write it as a bundle of its own.

    The units of a minimal cell do not read each other. Those go whose states the others predict
    best on training batches, and the weights that read the others are fitted again, in closed form.
    """

    folder: Positional[Path]
    """A run directory, or a bundle with --run."""
    share: float = 0.25
    """Fraction of the units of each cell to remove."""
    batches: int = 16
    """Training batches whose states are read."""
    run: Path | None = None
    """Run on the data that the bundle was trained on; default: the run itself."""
    tune_steps: int = 0
    """Updates of further training."""
    out: Path | None = None
    """The folder of the bundle; default: that of the model with -pruned25 behind its name."""
    overwrite: bool = False
    """Replace an existing bundle."""


@dataclass(frozen=True)
class Serve:
    """Serve the models of bundles over HTTP: text as it is generated, and predictions.

    The addresses follow the Open Inference Protocol v2; `/` is a page to type into, `/metrics` is
    for Prometheus. docs/deploy.md describes them. SIGTERM lets running streams finish.
    """

    bundles: Annotated[Positional[tuple[Path, ...]], arg(metavar="BUNDLE", help_behavior_hint="")]
    """Bundles, as written by `rnnlab bundle`. Several are versions of one model."""
    split: str | None = None
    """Shares of the versions, as in 0.9,0.1: a session always gets the same version."""
    name: str | None = None
    """Name of the model in addresses; default: that of the first bundle."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on; 0 chooses a free one."""
    engine: str = "jax"
    """What runs the model: jax, or onnx for the bundle's step.onnx by ONNX Runtime."""
    slots: int = 256
    """Streams that have a state at the same time."""
    queue: int = 512
    """Requests that wait for a slot; one more gets status 429."""
    per_event: int = 8
    """Tokens per event of a stream, which one device call computes."""
    max_tokens: int = 4096
    """Tokens that one request may generate."""
    timeout: float = 120.0
    """Seconds after which a request ends."""
    idle: float = 60.0
    """Seconds after which a sequence without a request loses its state."""
    drain: float = 20.0
    """Seconds that running streams get to finish after SIGTERM."""
    audit: Path | None = None
    """File to which one record per request is appended, each with the digest of the one before."""
    audit_text: bool = False
    """Record prompts and answers, too, not only their digests."""
    admin_token: Path | None = None
    """File with a secret token; with it, `/admin` loads versions, changes shares and rolls back."""
    allow_host: str | None = None
    """Comma-separated names that clients may call the server; default: on a loopback address only
    localhost, else any."""
