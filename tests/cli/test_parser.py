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


def test_unknown_flag_is_an_error_of_one_line(experiment, capsys):
    for words in (["list", "--stpes"], ["run", experiment, "--stpes"]):
        assert main.main(words) == errors.USAGE_ERROR
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("rnnlab: error: Unrecognized options: --stpes; ")
        assert printed.err.count("\n") == 1


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
