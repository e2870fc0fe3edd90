"""`rnnlab` as a process that stands still, or breaks, at a chosen stage.

    python injection_points.py STAGE ARGUMENTS...

A stage that is reached makes the file STAGE.PID in the working folder's `stages/`, so that a fault
can be proven to have hit it.
"""

import contextlib
import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path

STILL = 0.3
"""Seconds for which a stage stands still."""


def mark(stage):
    folder = Path("stages")
    folder.mkdir(exist_ok=True)
    (folder / f"{stage}.{os.getpid()}").touch()


def still(stage, function):
    """The function, standing still before it begins."""

    def slowly(*arguments, **options):
        mark(stage)
        time.sleep(STILL)
        return function(*arguments, **options)

    return slowly


def on_import():
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "jax":
                mark("import")
                time.sleep(STILL)

    sys.meta_path.insert(0, Finder())


def on_data():
    from rnnlab.tasks import Text

    Text.open = still("data", Text.open)


def on_compile():
    """The mark is made when tracing begins; what follows is compiled anew."""
    import jax

    from rnnlab.train import step

    jax.config.update("jax_enable_compilation_cache", False)
    rule = step.optimizer

    def optimizer(settings):
        made = rule(settings)

        def update(*arguments):
            mark("compile")
            return made.update(*arguments)

        return made._replace(update=update)

    step.optimizer = optimizer


def on_step():
    from rnnlab.train import loop

    make = loop.make_train_step

    def make_train_step(*arguments):
        step, count = make(*arguments), iter(range(1, 10**6))

        def slowly(*arguments):
            if next(count) == 3:
                mark("step")
                time.sleep(STILL)
            return step(*arguments)

        slowly.lower = step.lower
        return slowly

    loop.make_train_step = make_train_step


def on_evaluation():
    from rnnlab.train import loop

    count, evaluate = iter(range(1, 10**6)), loop.evaluate

    def slowly(*arguments):
        if next(count) == 2:
            mark("evaluation")
            time.sleep(STILL)
        return evaluate(*arguments)

    loop.evaluate = slowly


def on_save():
    """Stands still inside the second save, between orbax's files and their list."""
    from rnnlab.runs.checkpoints import manifest

    count, write_manifest = iter(range(1, 10**6)), manifest.write_manifest

    def slowly(*arguments):
        if next(count) == 2:
            mark("save")
            time.sleep(STILL)
        write_manifest(*arguments)

    manifest.write_manifest = slowly


def on_deletion():
    """Every file takes 20 ms to be deleted."""
    unlink = os.unlink

    def slowly(*arguments, **options):
        time.sleep(0.02)
        unlink(*arguments, **options)

    os.unlink = slowly


def on_every_step():
    """Steps that take long enough for another process to meet this one."""
    from rnnlab.train import divergence, loop

    loop.check_divergence = still("every_step", divergence.check_divergence)


def ballast(out, left):
    """Fills the disk of a folder but for some bytes."""
    free = shutil.disk_usage(out).free
    with (out / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        file.write(bytes(max(0, free - left)))


def full_disk(save, left, unchecked):
    """Fills the disk at a save, down to `left` bytes; `unchecked` saves without looking first."""
    from rnnlab.runs.checkpoints import store

    count, need = iter(range(1, 10**6)), store.require_disk

    def fill(folder, size, what):
        if next(count) == int(save):
            mark(f"full:{save}:{left}:{unchecked}")
            out = Path(folder).parents[1]
            ballast(out, int(left))
        if unchecked == "False":
            need(folder, size, what)

    store.require_disk = fill


def full_at_row(row):
    """Fills the disk before a row of metrics is written."""
    from rnnlab.runs.run_dir import RunDirectory

    count, append = iter(range(1, 10**6)), RunDirectory.append_metrics

    def append_slowly(self, values):
        if next(count) == int(row):
            mark(f"row:{row}")
            out = self.path.parent
            ballast(out, 0)
            values = values | {"long": "x" * 8192}  # more than what is left of the file's last page
        append(self, values)

    RunDirectory.append_metrics = append_slowly


def without(package):
    """As if a package were not installed."""

    found = importlib.util.find_spec

    def find_spec(name, *arguments):
        return None if name.partition(".")[0] == package else found(name, *arguments)

    importlib.util.find_spec = find_spec


STAGES = {
    "import": on_import,
    "data": on_data,
    "compile": on_compile,
    "step": on_step,
    "evaluation": on_evaluation,
    "save": on_save,
    "deletion": on_deletion,
    "every_step": on_every_step,
    "full": full_disk,
    "row": full_at_row,
    "without": without,
}


def main():
    name, *options = sys.argv.pop(1).split(":")
    from rnnlab.cli import main

    if name in STAGES:
        STAGES[name](*options)
    main.entry()


if __name__ == "__main__":
    main()
