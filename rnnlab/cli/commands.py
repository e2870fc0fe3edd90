"""The commands of `rnnlab` as dataclasses of their arguments, importable without JAX.

The names, types and docstrings here are the command line's flags and help texts. What each command
does is in the module that `HANDLERS` names, which is imported when the command runs. Commands for
bundles are in `deploy_commands.py`, those for data sets in `data_commands.py`, benchmarks in
`benchmarks.py`.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from rnnlab.cli.data_commands import Data
from rnnlab.cli.deploy_commands import Bundle, Export, Prune, Quantize, Serve


@dataclass(frozen=True)
class List:
    """List the experiments of a directory: their questions and their commands."""

    folder: Path | None = None
    """Directory of the experiments; default: those that come with rnnlab."""


@dataclass(frozen=True)
class Run:
    """Train the models of an experiment. Every setting is a flag: `rnnlab run FILE --help`.

    A comma-separated list, as in `--model.cell mingru,gru`, trains one run per value; several
    lists train one run per combination. Settings without a flag are those of the preset. The
    learning curves are drawn to curves.png in the directory of the runs.

    On Linux the process keeps freed memory for the next update, which takes less time that way. It
    never returns memory to the system until it ends; `--no-malloc-keep-memory` turns this off.
    """

    file: Positional[Path]
    """The experiment, as in experiments/training/char_lm.py; `rnnlab list` shows them."""
    preset: str = "cpu"
    """Name of the settings in the file's PRESETS to start from."""
    seeds: str | None = None
    """Comma-separated seeds; one run per seed."""
    out: Path | None = None
    """Directory of the runs; default: runs/EXPERIMENT/TIME."""
    results: Path | None = None
    """File to append one record per finished run to; default: results.jsonl in the directory of
    the runs."""
    coordinator: str | None = None
    """HOST:PORT at which process 0 of a run of several processes listens; SLURM, Open MPI and TPU
    pods are detected without it."""
    processes: int | None = None
    """Number of processes; without --coordinator and --process they are started on this machine."""
    process: int | None = None
    """Number of this process, from 0."""
    stall_seconds: float = 600.0
    """Of several processes: seconds without an update after which they end with exit code 9."""
    only: str | None = None
    """Train only the run of this name, as in cell=gru,seed=0; without figure."""
    devices: int | None = None
    """Number of virtual devices to make of the CPU, for a mesh: as in --devices 2 --mesh.data 2."""


@dataclass(frozen=True)
class Launch:
    """Run a command as jobs, on this machine or SLURM: `rnnlab launch [OPTIONS] -- run FILE`.

    `run` becomes one job per combination of settings, `search` one per worker, any other command
    one job. A job that fails is submitted again, and continues from the last checkpoint; so does a
    job whose time is over. At the end the results are shown as by the command itself. Needs the
    extra `launch`. docs/guides/search.md shows examples.

    Ctrl-C stops jobs on this machine after they have saved. Jobs on SLURM continue; the same
    command with the same --out waits for them again.
    """

    cluster: Literal["local", "slurm"] = "local"
    """Where jobs run: local is this machine."""
    nodes: int = 1
    """Machines of a job."""
    tasks_per_node: int = 1
    """Processes of a job on each machine."""
    time: int = 60
    """Limit of a job in minutes, after which it continues in another one."""
    partition: str | None = None
    """Partition of SLURM."""
    gpus_per_node: int | None = None
    """GPUs of a job on each machine; default: those that are visible, or SLURM's default."""
    cpus_per_task: int | None = None
    """Cores of a process."""
    memory: float | None = None
    """Memory of a job on each machine in GB."""
    setup: UseAppendAction[tuple[str, ...]] = ()
    """Shell command that a job of SLURM executes first, as in "module load cuda"."""
    slurm: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE")] = ()
    """Further option of sbatch, as in account=me."""
    retries: int = 2
    """Times that a failed job is submitted again."""
    parallel: int | None = None
    """Most jobs at the same time; default: 1 on this machine, or the workers of a search; all on
    SLURM."""


@dataclass(frozen=True)
class Search:
    """Search the settings of an experiment: every trial is a run, the best ones are listed first.

    `--space SETTING=VALUES` names a setting and its values, once per setting: 1,2,3 are choices,
    16:256 is a range, 16:256:16 a range with a step, log:1e-4:1e-2 a logarithmic range. Other
    settings are flags as of `rnnlab run`. Optuna's TPE sampler proposes the settings; needs the
    extra `search`. docs/guides/search.md shows examples.

    SIGINT and SIGTERM save the running trial. The same command with --resume continues it; so it
    does a trial whose process was killed. A finished trial is never repeated.
    """

    file: Positional[Path]
    """The experiment, as in experiments/training/char_lm.py; `rnnlab list` shows them."""
    space: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="SETTING=VALUES")] = ()
    """A setting to vary and its values, as in train.learning_rate=log:1e-4:1e-2."""
    trials: int = 20
    """Number of trials, including those that the directory has."""
    workers: int = 1
    """Processes on this machine that share the trials."""
    prune: bool = False
    """End trials that are worse than others after as many updates (successive halving)."""
    prune_after: int | None = None
    """Updates after which a trial may be pruned for the first time; default: a tenth of all."""
    sampler_seed: int = 0
    """Seed of the proposed settings."""
    preset: str = "cpu"
    """Name of the settings in the file's PRESETS to start from."""
    out: Path | None = None
    """Directory of the search; default: runs/EXPERIMENT/search-TIME."""
    resume: bool = False
    """Continue the search that the directory has."""


@dataclass(frozen=True)
class Resume:
    """Resume an interrupted run from its latest checkpoint.

    Keeps freed memory for the next update as `rnnlab run` does; `--no-malloc-keep-memory` turns
    this off.
    """

    folder: Positional[Path]
    """The run directory."""
    from_step: int | None = None
    """Go back to this checkpoint. Later ones are moved into a subdirectory of the run."""
    strict: bool = False
    """Fail if the latest checkpoint is corrupt instead of resuming from the one before it."""
    allow_device_change: bool = False
    """Resume on another processor or accelerator, where the result differs in its last bits."""
    allow_cores_change: bool = False
    """Resume on another number of cores, where the result differs in its last bits."""
    allow_versions_change: bool = False
    """Resume with other versions of JAX and related packages."""
    allow_other_mesh: bool = False
    """Resume on another mesh or number of processes, where the result differs in its last bits."""
    results: Path | None = None
    """File to append the result to; default: results.jsonl next to the run directory."""
    coordinator: str | None = None
    """HOST:PORT at which process 0 of a run of several processes listens; SLURM, Open MPI and TPU
    pods are detected without it."""
    processes: int | None = None
    """Number of processes; without --coordinator and --process they are started on this machine."""
    process: int | None = None
    """Number of this process, from 0."""
    stall_seconds: float = 600.0
    """Of several processes: seconds without an update after which they end with exit code 9."""
    devices: int | None = None
    """Number of virtual devices to make of the CPU, for a mesh: as in --devices 2 --mesh.data 2."""
    mesh_data: Annotated[int | None, arg(name="mesh.data")] = None
    """Devices over which the examples are divided; default: as the run was started. Another mesh
    needs --allow-other-mesh."""
    mesh_time: Annotated[int | None, arg(name="mesh.time")] = None
    """Devices over which the time steps are divided."""
    mesh_model: Annotated[int | None, arg(name="mesh.model")] = None
    """Devices over which the features are divided."""
    mesh_fsdp: Annotated[bool | None, arg(name="mesh.fsdp")] = None
    """Whether parameters and optimizer state are divided over the data axis: True or False."""


@dataclass(frozen=True)
class Verify:
    """Check the files of a run or a bundle, of all below a directory, or an audit log.

    Compares checkpoints with their digests and settings with those of the checkpoints, and reads
    all other files. Of a bundle all files are compared with their digests, of an
    audit log all records. Changes nothing. The exit code is 4 if a file of a run is corrupt.
    """

    folder: Positional[Path]
    """A run directory or a bundle, a directory that contains some, or the audit log of a server."""
    public_key: Path | None = None
    """File with the public key (PEM) of the owner of the bundles, whose signature is required;
    needs the extra `sign`."""
    parity: bool = False
    """Also execute the exported files of bundles and compare them with the model."""


@dataclass(frozen=True)
class Compare:
    """Compare finished runs: a table, and a figure of their curves over updates and seconds.

    Runs that differ only in their seed are one row of the table, with their mean and standard
    deviation. `--wide` also prints one row per run.
    """

    folders: Positional[tuple[Path, ...]]
    """Run directories, directories that contain some, bundles, or files of result records."""
    out: Path | None = None
    """The figure's file; default: comparison.png in the directory that is named, or in the working
    directory if several are."""


@dataclass(frozen=True)
class Sample:
    """Generate text with the model of a trained run, from the parameters of its best step.

    The text is printed while it is generated. `--perplexity` measures a given text instead.
    """

    folder: Positional[Path]
    """The run directory, or a bundle."""
    prompt: str = "The "
    """Text to continue, or the source of a model that generates from one, such as a word."""
    prompts: Path | None = None
    """File with a text to continue per line, all at the same time; in place of --prompt."""
    length: int = 500
    """Number of symbols to generate, or the most points of a drawing."""
    temperature: float = 0.8
    """Divisor of the logits; 0 always takes the most likely symbol. Of drawings it multiplies the
    variances too."""
    top_k: int | None = None
    """Sample only from the k most likely symbols."""
    top_p: float | None = None
    """Sample only from the most likely symbols whose probabilities sum to at least this."""
    perplexity: str | None = None
    """A text, or a file with one: print the perplexity and the nats and bits per character of the
    model on it, and generate nothing."""
    beam: int | None = None
    """Hypotheses of a model that generates from a source, all of which are printed with their log
    probabilities; default: those of the run."""
    seed: int = 0
    """Seed of the samples."""
    strict: bool = False
    """Fail if the best checkpoint is corrupt instead of using the latest valid one."""


@dataclass(frozen=True)
class Predict:
    """Predict with the model of a trained run, from the parameters of its best step.

    Writes a CSV file: forecasts with their dates, classes with their probabilities, or values, in
    the data's own units and names; and a figure next to it.
    """

    folder: Positional[Path]
    """The run directory, or a bundle."""
    data_path: Annotated[Path | None, arg(name="data.path")] = None
    """New data of the same kind as the run's; default: the test part of the run's data, and for a
    series also what follows its end. A bundle has no data of its run and needs it."""
    horizon: int | None = None
    """Time steps to forecast; default: as many as the model was trained for."""
    out: Path | None = None
    """The CSV file; default: predictions.csv in the run directory, or for a bundle in the working
    directory."""
    strict: bool = False
    """Fail if the best checkpoint is corrupt instead of using the latest valid one."""


@dataclass(frozen=True)
class Inspect:
    """Analyze the model of a trained run, from the parameters of its best step.

    Prints a table of its layers and writes figures: gradient flow, memory, gates, the trajectory
    of the state, attribution of one prediction, and attention weights. Each names its sequence and
    its prediction. Of an encoder-decoder it writes the alignment of a target with its source.
    """

    folder: Positional[Path]
    """The run directory, or a bundle."""
    text: str | None = None
    """Input of the model, for runs on text, or its source; default: a sequence of the run's data. A
    bundle has no data of its run and needs it."""
    sequence: int | None = None
    """Number of a sequence in the last evaluation set, from 0; default: the longest of its first
    batch."""
    time_step: int | None = None
    """Time step of the prediction to explain, from 0; default: the last one that has a target, or
    the end of --text. At most 120 time steps up to it are drawn, or 1000 if only one has a target.
    """
    out: Path | None = None
    """Directory for the figures; default: `inspect` in the run directory, or for a bundle in the
    working directory."""
    strict: bool = False
    """Fail if the best checkpoint is corrupt instead of using the latest valid one."""


COMMANDS: dict[str, type] = {
    kind.__name__.lower(): kind
    for kind in (
        *(List, Data, Run, Resume, Search, Launch, Verify, Compare, Predict, Sample, Inspect),
        *(Bundle, Serve, Export, Quantize, Prune),
    )
}
"""Commands except the benchmarks, by name."""

HANDLERS = {
    List: "rnnlab.cli.list:list_experiments",
    Data: "rnnlab.cli.data:run",
    Run: "rnnlab.cli.run:run_experiment",
    Resume: "rnnlab.cli.run:resume_run",
    Search: "rnnlab.cli.search:search",
    Launch: "rnnlab.cli.launch:launch",
    Verify: "rnnlab.cli.verify:verify",
    Compare: "rnnlab.cli.compare:compare",
    Predict: "rnnlab.cli.predict:predict",
    Sample: "rnnlab.cli.sample:sample",
    Inspect: "rnnlab.cli.inspect:inspect",
    Bundle: "rnnlab.cli.bundle:bundle",
    Serve: "rnnlab.cli.serve:serve",
    Export: "rnnlab.cli.export:export",
    Quantize: "rnnlab.cli.quantize:run",
    Prune: "rnnlab.cli.prune:run",
}
"""The function that executes each command, as `module:function`."""


def load(target: str) -> Any:
    """Imports and returns the object that `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
