"""The commands run, resume, compare, sample and list, and the flags of an experiment."""

import json
import os
import signal
from pathlib import Path

import pytest

from rnnlab import Adding, Experiment, ModelConfig, Preset, errors, records
from rnnlab.cli import main
from rnnlab.cli.experiment_flags import experiments
from rnnlab.runs.lock import lock_run
from rnnlab.runs.run_dir import RunDirectory

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")


def folders(out):
    return sorted(p.name for p in Path(out).iterdir() if p.is_dir())


def test_run_of_a_preset_trains_its_grid_once(experiment, tmp_path, capsys):
    out = tmp_path / "runs"
    assert main.main(["run", experiment, "--out", str(out)]) == 0
    assert folders(out) == ["cell=gru,seed=0", "cell=mingru,seed=0"]
    results = list(records.read(out / "results.jsonl"))
    assert [r["cell"] for r in results] == ["mingru", "gru"]
    keys = ("device", "versions", "seed", "command", "xla_flags", "commit", "parameters")
    for key in (*keys, "malloc_keep_memory"):
        assert key in results[0]
    assert results[0]["baselines"]["uniform"]["nll"] > 0
    printed = capsys.readouterr().out
    for word in ("mingru", "test nll", "Kneser-Ney n-gram (baseline)", "tokens/s", str(out)):
        assert word in printed
    assert f"its curves in {out / 'curves.png'}" in " ".join(printed.split())
    assert "Next, with the best run by valid nll " in printed
    assert f": rnnlab predict {out}/cell=" in printed
    assert (out / "curves.png").stat().st_size > 10_000

    # The same runs again are not trained again, and others do not overwrite them.
    assert main.main(["run", experiment, "--out", str(out)]) == 0
    assert "mingru" in capsys.readouterr().out
    command = ["run", experiment, "--out", str(out), "--model.width", "3"]
    assert main.main(command) == errors.USAGE_ERROR
    assert "holds a run of other settings" in capsys.readouterr().err
    assert len(list(records.read(out / "results.jsonl"))) == 2


def test_compare_draws_the_runs_of_a_directory(trained_runs, tmp_path, capsys):
    figure = tmp_path / "figure.png"
    command = ["compare", str(trained_runs), "--out", str(figure)]
    assert main.main(command) == 0
    assert figure.stat().st_size > 10_000
    assert "mingru+transformer" in capsys.readouterr().out
    assert main.main([*command, "--wide"]) == 0  # its own figure is replaced
    printed = capsys.readouterr().out
    assert printed.index("seeds") < printed.index("seed ")  # settings, then single runs
    assert f"Written: {figure}" in printed


def test_compare_does_not_overwrite_a_file_of_the_user(trained_runs, tmp_path, capsys):
    figure = tmp_path / "photo.png"
    figure.write_bytes(b"not a figure")
    assert main.main(["compare", str(trained_runs), "--out", str(figure)]) == errors.USAGE_ERROR
    assert f"{figure} exists and is not a figure of rnnlab" in capsys.readouterr().err
    assert figure.read_bytes() == b"not a figure"


def test_sample_with_a_seed_is_reproducible(trained_run, capsys):
    run = str(trained_run)
    options = ["--prompt", "abc", "--length", "20", "--temperature", "0.5", "--top-k", "2"]
    texts = []
    for seed in ("1", "1", "2"):
        assert main.main(["sample", run, *options, "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0].startswith("abc")
    assert len(texts[0]) == 3 + 20 + 1
    assert texts[0] == texts[1]
    assert main.main(["sample", run, "--prompt", "xyz"]) == errors.DATA
    assert "got 'x' at index 0" in capsys.readouterr().err


def planned(experiment, *flags):
    from rnnlab.runs.grid import load_presets

    preset = load_presets(Path(experiment))["cpu"]
    return experiments(preset, flags)


def test_comma_lists_give_every_combination(experiment):
    runs = planned(experiment, "--model.cell", "rnn,lstm", "--train.seed", "0,1", "--model.width=3")
    assert [(e.model.cell, e.train.seed, e.model.width) for e, _ in runs] == [
        ("rnn", 0, 3),
        ("rnn", 1, 3),
        ("lstm", 0, 3),
        ("lstm", 1, 3),
    ]
    assert runs[1][1] == {"model.cell": "rnn", "train.seed": 1}


def test_flag_of_a_grid_setting_replaces_the_grid(experiment):
    runs = planned(experiment, "--model.cell", "lstm")
    assert [e.model.cell for e, _ in runs] == ["lstm"]
    lists = planned(experiment, "--model.depth=1,2")
    assert [(e.model.cell, e.model.depth) for e, _ in lists] == [
        ("mingru", 1),
        ("mingru", 2),
        ("gru", 1),
        ("gru", 2),
    ]


def test_option_of_some_cells_applies_to_their_runs(experiment):
    runs = planned(experiment, "--model.cell", "gru,transformer", "--model.heads", "1,2")
    assert [(e.model.cell, e.model.options.get("heads")) for e, _ in runs] == [
        ("gru", None),
        ("transformer", 1),
        ("transformer", 2),
    ]
    assert [set(varied) - {"model.cell", "train.seed"} for _, varied in runs] == [
        set(),
        {"model.heads"},
        {"model.heads"},
    ]


def test_grid_of_an_option_is_dropped_for_a_cell_without_it():
    preset = Preset(
        Experiment(Adding(), ModelConfig("mingru", depth=1)),
        {"model.decay_range": ((0, 1), (-1, 1))},
        {"minlstm": {"forget_bias": 2.0}},
    )
    assert len(experiments(preset, [])) == 2
    ((_, varied),) = experiments(preset, ["--model.cell", "gru"])
    assert varied == {"model.cell": "gru", "train.seed": 0}
    runs = experiments(preset, ["--model.cell", "minlstm"])
    assert [run.model.options["forget_bias"] for run, _ in runs] == [2.0, 2.0]


def test_flags_have_the_types_of_their_settings(experiment):
    ((run, _),) = planned(
        experiment,
        *(
            "--model.cell",
            "mingru",
            "--model.decay-range",
            "-1",
            "1",
            "--model.conv-kernel-size",
            "None",
        ),
        *("--data.stateful", "--train.grad-clip-norm", "0.5", "--data.path", "a,b.txt"),
    )
    assert run.model.options["decay_range"] == (-1, 1)
    assert run.model.conv_kernel_size is None
    assert run.data.stateful
    assert run.train.grad_clip_norm == 0.5
    assert run.data.path == Path("a,b.txt")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset", "gpu"], "preset must be one of 'cpu', got 'gpu'"),
        (["--model.cell", "mingur"], "did you mean 'mingru'"),
        (["--train.steps", "0"], "steps must be"),
        (["--model.width", "0"], "width must be an int >= 1, got 0"),
        (
            ["--model.cell", "gru,transformer", "--model.heads", "3"],
            "features must be a multiple of 6",
        ),
        (["--model.cell", "gru", "--model.heads", "3"], "its options are reset_after"),
        (["--model.cell", "gru", "--model.widht", "3"], "did you mean 'width'?"),
        (
            ["--model.cell", "gru+rnn"],
            "depth must be >= 2 for cell 'gru+rnn', got 1; raise --model.depth",
        ),
        (["--model.bidirectional"], "bidirectional must be False for a task"),
        (["--train.recurrent-l1", "0.1"], "recurrent_l1 and recurrent_l2 must be 0"),
        (["--seeds", "0,,1"], "--train.seed must be values separated by commas only, got '0,,1'"),
        (["--seeds", "0,0"], "two runs are"),
    ],
)
def test_invalid_value_is_one_line_and_exit_code_2(experiment, tmp_path, capsys, flags, message):
    check_refused(experiment, tmp_path, capsys, flags, message, errors.USAGE_ERROR)


def test_missing_data_is_one_line_and_exit_code_3(experiment, tmp_path, capsys):
    flags = ["--data.path", "nothing.txt"]
    check_refused(experiment, tmp_path, capsys, flags, "nothing.txt", errors.DATA)


def check_refused(experiment, tmp_path, capsys, flags, message, code):
    out = tmp_path / "runs"
    assert main.main(["run", experiment, *flags, "--out", str(out)]) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("rnnlab: error: ")
    assert message in error
    assert "\n" not in error
    assert not out.exists()


def test_mistyped_flag_is_refused_with_a_suggestion(experiment, tmp_path, capsys):
    command = ["run", experiment, "--train.learnin-rate", "3", "--out", str(tmp_path / "runs")]
    assert main.main(command) == errors.USAGE_ERROR
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "did you mean --train.learning-rate?" in error
    assert not (tmp_path / "runs").exists()


def test_help_of_an_experiment_lists_its_settings(experiment, capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["run", experiment, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for flag in ("--data.path", "--model.cell", "--train.learning-rate", "--preset", "--seeds"):
        assert flag in printed


def test_file_without_an_experiment_is_refused(tmp_path, capsys):
    other = tmp_path / "other.py"
    other.write_text("x = 1\n", encoding="utf-8")
    for path in (tmp_path / "none.py", other):
        assert main.main(["run", str(path)]) == 2
        assert "rnnlab list" in capsys.readouterr().err
    for body in ("PRESETS = {}", "PRESETS = {'cpu': 5}"):
        other.write_text(body, encoding="utf-8")
        assert main.main(["run", str(other)]) == 2
        assert main.main(["run", str(other), "--help"]) == 2
        assert f"{other}" in capsys.readouterr().err
    other.write_text("import sys; sys.exit(0)", encoding="utf-8")
    assert main.main(["run", str(other)]) == 2
    assert "cannot be executed: SystemExit" in capsys.readouterr().err
    other.write_text("PRESETS = {}[0]\n", encoding="utf-8")
    assert main.main(["run", str(other)]) == 2
    assert f"{other} cannot be executed: KeyError: 0; fix the file" in capsys.readouterr().err
    for command, code in (("resume", 4), ("sample", 4), ("verify", 4), ("compare", 2)):
        assert main.main([command, str(tmp_path)]) == code
        assert str(tmp_path) in capsys.readouterr().err


def test_interrupted_run_prints_how_to_resume_it(experiment, tmp_path, capsys, monkeypatch):
    out = tmp_path / "runs"
    append = RunDirectory.append_metrics

    def interrupt(self, row):
        append(self, row)
        if row["step"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RunDirectory, "append_metrics", interrupt)
    arguments = ["run", experiment, "--model.cell", "mingru", "--out", str(out)]
    assert main.main(arguments) == 130
    folder = out / "cell=mingru,seed=0"
    assert f"`rnnlab resume {folder}`" in capsys.readouterr().err
    assert not (out / "results.jsonl").exists()
    monkeypatch.setattr(RunDirectory, "append_metrics", append)
    assert main.main(["resume", str(folder)]) == 0
    assert "resuming from step 1 of 4" in capsys.readouterr().err
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 4
    assert (out / "curves.png").stat().st_size > 10_000
    # Its row is where the others are, and is there once.
    for command in (["resume", str(folder)], arguments):
        assert main.main(command) == 0
        assert list(records.read(out / "results.jsonl")) == [result]


def test_locked_run_is_refused(experiment, tmp_path, capsys, monkeypatch):
    """By `resume`, and by `run` where the folder holds these settings or none."""
    out = tmp_path / "runs"
    folder = out / "cell=mingru,seed=0"
    arguments = ["run", experiment, "--model.cell", "mingru", "--out", str(out)]

    def refused(*command):
        assert main.main(list(command)) == errors.LOCKED
        error = capsys.readouterr().err.strip()
        assert f"rnnlab: error: {folder} is locked by process {os.getpid()} on " in error

    with lock_run(folder):
        refused(*arguments)
        assert {p.name for p in folder.iterdir()} == {"run.lock"}

    def interrupt(self, row):
        patch.undo()  # a second signal would end this process
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_metrics", interrupt)
        assert main.main(arguments) == 130
    capsys.readouterr()
    with lock_run(folder):
        refused("resume", str(folder))
        refused(*arguments)
    assert main.main(["resume", str(folder)]) == 0


def test_list_shows_every_experiment(capsys):
    root = Path(__file__).parent.parent.parent
    folder = root / "experiments" / "training"
    assert main.main(["list", "--folder", str(folder)]) == 0
    printed = capsys.readouterr().out
    for path in folder.glob("*.py"):
        assert path.stem in printed
