"""Shell completion, and errors of the command line in one line."""

import pytest

from rnnlab import errors
from rnnlab.cli import main
from rnnlab.cli.arguments import one_line

TITLE = "# Bash completion for {}\n"


def completion(words, capsys):
    """Returns what a command for shell completion prints; it must exit with 0."""
    with pytest.raises(SystemExit) as stopped:
        main.main(words)
    assert not stopped.value.code
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def test_completion_of_the_command_prints_or_writes_a_script(tmp_path, capsys):
    script = completion(["--tyro-print-completion", "bash"], capsys)
    assert TITLE.format("rnnlab") in script
    assert "resume" in script
    path = tmp_path / "rnnlab.bash"
    assert completion(["--tyro-write-completion", "bash", str(path)], capsys) == ""
    assert path.read_text(encoding="utf-8") == script.removesuffix("\n")


def test_completion_of_an_experiment_prints_or_writes_a_script(experiment, tmp_path, capsys):
    run = ["run", experiment]
    script = completion([*run, "--tyro-print-completion", "bash"], capsys)
    assert TITLE.format("rnnlab run FILE") in script
    assert "--model.width" in script
    path = tmp_path / "run.bash"
    assert completion([*run, "--tyro-write-completion", "bash", str(path)], capsys) == ""
    assert path.read_text(encoding="utf-8") == script.removesuffix("\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("flag", ["--tyro-print-completion", "--tyro-write-completion"])
def test_completion_of_an_unknown_shell_is_refused(experiment, tmp_path, capsys, flag):
    path = tmp_path / "script"
    for words in ([], ["run", experiment]):
        assert main.main([*words, flag, "csh", str(path)]) == errors.USAGE_ERROR
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("rnnlab: error: Shell should be one `bash`")
        assert "but got csh; see `rnnlab" in printed.err
        assert printed.err.count("\n") == 1
    assert not path.exists()


def test_completion_to_an_unwritable_path_is_an_error(tmp_path, capsys):
    path = tmp_path / "none" / "script"
    words = ["--tyro-write-completion", "bash", str(path)]
    assert main.main(words) == errors.RESOURCES
    assert f"No such file or directory: '{path}'" in capsys.readouterr().err


def refused(words, capsys):
    """Returns the one line on stderr of a command that is refused."""
    assert main.main(words) == errors.USAGE_ERROR
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_unknown_flag_of_a_command_is_an_error_of_one_line(capsys):
    assert "error: Unrecognized options: --stpes; " in refused(["list", "--stpes"], capsys)


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--stpes", "--train.steps"),
        ("--train.stpes", "--train.steps"),
        ("--train.lr", "--train.learning-rate"),
        ("--lr", "--train.learning-rate"),
        ("--train.epochs", "--train.steps"),
        ("--model.hidden-size", "--model.width"),
        ("--model.layers", "--model.depth"),
        ("--batch_size", "--data.batch-size"),
    ],
)
def test_unknown_option_of_an_experiment_suggests_the_one_that_is_meant(
    experiment, capsys, flag, meant
):
    printed = refused(["run", experiment, flag, "3"], capsys)
    assert f"error: {flag} is not an option of this experiment; did you mean {meant}?" in printed


def test_unknown_option_that_is_near_a_short_one_suggests_nothing(experiment, capsys):
    # l1 and l2 would train, wrongly.
    assert "did you mean" not in refused(["run", experiment, "--train.l3", "1"], capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["spedup"], "'spedup' is not a command; did you mean speedup?"),
        (["runn", "x.py"], "'runn' is not a command; did you mean run?"),
        (["train"], "'train' is not a command; they are list, data, run, resume"),
        (["bench", "scaning"], "'scaning' is not a benchmark; did you mean scaling?"),
    ],
)
def test_unknown_command_suggests_a_similar_one(words, said, capsys):
    assert said in refused(words, capsys)


def test_no_command_prints_the_help(capsys):
    with pytest.raises(SystemExit) as stopped:
        main.main([])
    assert not stopped.value.code
    assert "usage: rnnlab" in capsys.readouterr().out


def test_version_names_rnnlab_jax_and_python(capsys):
    printed = completion(["--version"], capsys)
    assert printed.startswith("rnnlab 0.1.0, jax ")
    assert "Python 3." in printed


def test_completion_command_prints_the_script(capsys):
    assert TITLE.format("rnnlab") in completion(["completion", "bash"], capsys)
    assert "completion needs one shell" in refused(["completion"], capsys)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ("", "the arguments are invalid; see `rnnlab --help`"),
        ("\n", "the arguments are invalid; see `rnnlab --help`"),
        ("Odd.", "Odd; see `rnnlab --help`"),
        ("╭─ Odd ─╮\n╰───────╯", "Odd; see `rnnlab --help`"),
        ("╭─ Odd ─╮\n│ It is. │\n╰───────╯", "It is; see `rnnlab --help`"),
    ],
)
def test_error_box_of_any_content_becomes_one_line(box, said):
    assert one_line(box, "rnnlab") == said
