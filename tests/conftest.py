"""Strict settings for the whole suite; shape annotations are checked at run time.

All processes of a session share one compilation cache. It is a temporary folder, or the folder that
the environment variable JAX_COMPILATION_CACHE_DIR names, which a later session can use again.
"""

import ctypes
import gc
import os
import shutil
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
TEMPORARY_CACHE = None if CACHE_VARIABLE in os.environ else tempfile.mkdtemp(prefix="rnnlab-tests-")

# OpenMP threads of several workers wait for each other: boosting is much slower with them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# JAX reads these at import; workers and child processes inherit them.
os.environ.setdefault(CACHE_VARIABLE, TEMPORARY_CACHE or "")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402
import tyro  # noqa: E402, F401  before doctests set builtins._, which tyro hashes on import
from example_state import METADATA, tree  # noqa: E402
from faults.harness import Lab  # noqa: E402
from fitted_estimators import fitted_arrays  # noqa: E402, F401  fixture
from jaxtyping import install_import_hook  # noqa: E402

from rnnlab.atomic_io import lock  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # beartype warns about annotations that it cannot check
    with install_import_hook("rnnlab", "beartype.beartype"):
        import rnnlab.models  # noqa: F401
        from rnnlab.runs.checkpoints.store import CheckpointStore

from reader_files import write_file  # noqa: E402, F401  fixture
from series_examples import write_series  # noqa: E402, F401  fixture
from small_data_set import data_folder, server  # noqa: E402, F401  fixtures
from trained_runs import experiment, trained_run, trained_runs  # noqa: E402, F401  fixtures

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Tracing makes many small objects, and nearly none of them in cycles: collect less often.
gc.set_threshold(200_000, 20, 100)

# They have no doctests, and two modules named conftest could not both be imported.
collect_ignore_glob = ["conftest.py", "*/conftest.py"]


EXAMPLES_OF_EXTRAS = {
    "sklearn": (
        "rnnlab.tasks.reference.classical.naive_bayes_accuracy",
        "rnnlab.tasks.reference.translation_baselines.copied_and_nearest",
        "rnnlab.tasks.reference.boosting.class_scores",
        "rnnlab.tasks.reference.risk.risk_scores",
        "rnnlab.tasks.reference.risk.sensitivity_precision",
        "rnnlab.train.rare_classes.average_precision",
        "rnnlab.train.rare_classes.sensitivity_precision",
    ),
    "jiwer": ("rnnlab.tasks.reference.text_scores.wer", "rnnlab.tasks.reference.text_scores.cer"),
    "rapidfuzz": (
        "rnnlab.tasks.reference.constant_text.constant_text_scores",
        "rnnlab.tasks.reference.text_scores.phone_error",
        "rnnlab.tasks.reference.text_scores.nearest_pronunciation",
    ),
    "sacrebleu": (
        "rnnlab.tasks.reference.text_scores.bleu",
        "rnnlab.tasks.reference.text_scores.chrf",
        "rnnlab.tasks.reference.text_scores.signatures",
    ),
    "starlette": ("rnnlab.serve.http.error_response", "rnnlab.serve.http.json_response"),
}
"""Doctests by the package of an extra that they need; they are skipped without it, as tests are."""


def pytest_collection_modifyitems(items):
    """Skips doctests that need a package which is not installed."""
    missing = {
        name: package
        for package, names in EXAMPLES_OF_EXTRAS.items()
        if find_spec(package) is None
        for name in names
    }
    for item in items:
        if item.name in missing:
            item.add_marker(pytest.mark.skip(reason=f"{missing[item.name]} is missing"))


def pytest_unconfigure():
    """Removes the temporary compilation cache at the end of the process that made it."""
    if TEMPORARY_CACHE is not None:
        shutil.rmtree(TEMPORARY_CACHE, ignore_errors=True)


LIMIT = pytest.StashKey[float]()
"""Bytes of memory at which a worker drops what it compiled: `max_memory()`, and more if that did
not free MEMORY_STEP."""
MEMORY_STEP = 0.4e9


def max_memory() -> float:
    """A third of the machine's memory for all workers together, and at most 2 GB per worker."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    return min(2e9, total / 3 / workers)


def resident_bytes() -> float:
    """The memory of this process; 0 on systems without /proc."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if path.exists() else 0


def pytest_runtest_teardown(item):
    """Drops compiled programs, some 10 MB per test, which the compilation cache keeps on disk."""
    if resident_bytes() > item.config.stash.get(LIMIT, max_memory()):
        jax.clear_caches()
        gc.collect()
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # glibc returns it to the system
        item.config.stash[LIMIT] = max(max_memory(), resident_bytes() + MEMORY_STEP)


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """An experiment and its reference run, which the workers of a session share."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    lab = Lab(folder / "lab")
    with (folder / "lab.lock").open("w") as file:
        lock(file)
        return lab if lab.is_complete else Lab.build(lab.folder)


@pytest.fixture
def getkey():
    """A function that returns a new random key at each call, the same ones in each run."""
    keys = iter(jax.random.split(jax.random.key(2410), 100))
    return lambda: next(keys)


@pytest.fixture
def x64():
    """Float64 for the duration of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked():
    """No shape annotations, so that a bad argument reaches the checks of rnnlab."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def quick_compile():
    """Compilation in half the time, for tests of behaviour that do not compare numbers."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def implicit_promotion():
    """The default promotion of JAX: Adam in optax raises a float to an integer count."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def stored(tmp_path):
    """A store with checkpoints of steps 1 to 3, step 1 the best, and its log lines."""
    lines = []
    checkpoints = CheckpointStore(tmp_path, METADATA, lines.append)
    for step in (1, 2, 3):
        checkpoints.save(step, tree(step), best=step == 1)
    return checkpoints, lines
