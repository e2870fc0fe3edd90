"""`rnnlab` as a process that pauses or fails at a chosen injection point.

    python injection_points.py POINT ARGUMENTS...

POINT is a name of INJECTION_POINTS, with options behind colons. When the process reaches it, it
makes the file `reached/POINT.PID` in the working folder, so that a test can prove that its fault
happened there.
"""

import contextlib
import importlib.util
import itertools
import os
import shutil
import sys
import time
from pathlib import Path

PAUSE_SECONDS = 0.3


def touch_marker(point):
    folder = Path("reached")
    folder.mkdir(exist_ok=True)
    (folder / f"{point}.{os.getpid()}").touch()


def delay_before(point, function, call=None):
    """The function, with a pause before its call of this number, from 1; before each without."""
    count = itertools.count(1)

    def delayed(*arguments, **options):
        if call is None or next(count) == call:
            touch_marker(point)
            time.sleep(PAUSE_SECONDS)
        return function(*arguments, **options)

    return delayed


def pause_at_import():
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "jax":
                touch_marker("import")
                time.sleep(PAUSE_SECONDS)

    sys.meta_path.insert(0, Finder())


def pause_at_data():
    from rnnlab.tasks import Text

    Text.load = delay_before("data", Text.load)


def mark_compilation():
    """Marks the beginning of tracing, and compiles without the compilation cache."""
    import jax

    from rnnlab.train import step

    jax.config.update("jax_enable_compilation_cache", False)
    rule = step.optimizer

    def optimizer(settings):
        made = rule(settings)

        def update(*arguments):
            touch_marker("compile")
            return made.update(*arguments)

        return made._replace(update=update)

    step.optimizer = optimizer


def pause_at_step():
    """Pauses before the third training step."""
    from rnnlab.train import loop

    make = loop.make_train_step

    def make_train_step(*arguments):
        step = make(*arguments)
        delayed = delay_before("step", step, call=3)
        delayed.lower = step.lower
        return delayed

    loop.make_train_step = make_train_step


def pause_at_evaluation():
    """Pauses before the second evaluation."""
    from rnnlab.train import loop

    loop.evaluate = delay_before("evaluation", loop.evaluate, call=2)


def pause_at_save():
    """Pauses inside the second save, after Orbax wrote its files and before the manifest."""
    from rnnlab.runs.checkpoints import manifest

    manifest.write_manifest = delay_before("save", manifest.write_manifest, call=2)


def slow_down_deletion():
    """Makes the deletion of every file take 20 ms."""
    unlink = os.unlink

    def slow_unlink(*arguments, **options):
        time.sleep(0.02)
        unlink(*arguments, **options)

    os.unlink = slow_unlink


def pause_at_every_step():
    """Makes training steps so slow that another process meets this one."""
    from rnnlab.train import divergence, loop

    loop.check_divergence = delay_before("every_step", divergence.check_divergence)


def fill_disk(out, left):
    """Fills the disk that holds a folder until `left` bytes are free."""
    free = shutil.disk_usage(out).free
    with (out / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        file.write(bytes(max(0, free - left)))


def fill_disk_at_save(save, left, unchecked):
    """Fills the disk at a save; `unchecked` begins it without a look at the free space."""
    from rnnlab.runs.checkpoints import store

    count, need = itertools.count(1), store.require_disk

    def fill(folder, size, what):
        if next(count) == int(save):
            touch_marker(f"full:{save}:{left}:{unchecked}")
            fill_disk(Path(folder).parents[1], int(left))
        if unchecked == "False":
            need(folder, size, what)

    store.require_disk = fill


def fill_disk_at_record(number):
    """Fills the disk before a metrics record is written."""
    from rnnlab.runs.run_dir import RunDirectory

    count, log = itertools.count(1), RunDirectory.append_metrics

    def logged(self, values):
        if next(count) == int(number):
            touch_marker(f"record:{number}")
            fill_disk(self.path.parent, 0)
            values = values | {"long": "x" * 8192}  # more than the free bytes of the file's page
        log(self, values)

    RunDirectory.append_metrics = logged


def hide_package(package):
    """Makes a package look as if it were not installed."""
    find = importlib.util.find_spec

    def find_spec(name, *arguments):
        return None if name.partition(".")[0] == package else find(name, *arguments)

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    importlib.util.find_spec = find_spec
    sys.meta_path.insert(0, Finder())


INJECTION_POINTS = {
    "import": pause_at_import,
    "data": pause_at_data,
    "compile": mark_compilation,
    "step": pause_at_step,
    "evaluation": pause_at_evaluation,
    "save": pause_at_save,
    "deletion": slow_down_deletion,
    "every_step": pause_at_every_step,
    "full": fill_disk_at_save,
    "record": fill_disk_at_record,
    "without": hide_package,
}


def main():
    name, *options = sys.argv.pop(1).split(":")
    from rnnlab.cli import main

    if name in INJECTION_POINTS:
        INJECTION_POINTS[name](*options)
    main.entry()


if __name__ == "__main__":
    main()
