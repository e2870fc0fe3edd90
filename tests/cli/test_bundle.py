"""`rnnlab bundle`, and the commands that take a bundle where they take a run."""

import json
import shutil

import pytest

from rnnlab.bundle import open_bundle, write_bundle
from rnnlab.cli import main


@pytest.fixture(scope="module")
def bundle(trained_runs, tmp_path_factory):
    """The bundle of a run, made by the command."""
    out = tmp_path_factory.mktemp("bundles") / "abc"
    run = trained_runs / "cell=mingru,seed=0"
    command = ["bundle", str(run), "--out", str(out), "--license", "CC BY | 4.0"]
    command += ["--question", "Does it learn\nabc?"]
    assert main.main(command) == 0
    return out


@pytest.fixture
def elsewhere(bundle, tmp_path, monkeypatch):
    """A copy of the bundle where neither the run nor its data is, as the working directory."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(bundle, tmp_path / "abc").relative_to(tmp_path)


def output(capsys, *words):
    """Returns what a command prints, which must succeed."""
    capsys.readouterr()
    assert main.main(list(map(str, words))) == 0
    return capsys.readouterr().out


def error(capsys, *words):
    """Returns the one line of a command that fails, and its exit code."""
    capsys.readouterr()
    code = main.main(list(map(str, words)))
    (line,) = capsys.readouterr().err.splitlines()
    return code, line


def test_sample_of_a_bundle_equals_that_of_its_run(trained_run, elsewhere, capsys):
    words = "--prompt", "abc", "--length", "30", "--seed", "3"
    sampled = output(capsys, "sample", elsewhere, *words)
    assert sampled == output(capsys, "sample", trained_run, *words)


def test_predictions_of_a_bundle_equal_those_of_its_run(trained_run, elsewhere, tmp_path, capsys):
    text = tmp_path / "new.txt"
    text.write_text("abcab abc ")
    output(capsys, "predict", elsewhere, "--data.path", text)
    output(capsys, "predict", trained_run, "--data.path", text, "--out", tmp_path / "run.csv")
    found = (tmp_path / "predictions.csv").read_bytes()
    assert found == (tmp_path / "run.csv").read_bytes()
    assert sorted(path.name for path in elsewhere.iterdir()) == [
        *("bundle.json", "card.md", "model.safetensors", "reference.json")
    ]


def test_predict_of_a_bundle_without_data_is_one_line(elsewhere, capsys):
    code, line = error(capsys, "predict", elsewhere)
    assert code == 3
    assert "pass a file, as in --data.path FILE" in line


def test_inspect_of_a_bundle_without_text_is_one_line(elsewhere, capsys):
    code, line = error(capsys, "inspect", elsewhere)
    assert code == 2
    assert line.endswith("abc must have a sequence, and is a bundle; pass --text")


@pytest.mark.slow
def test_inspect_of_a_bundle_draws_figures_of_a_text(elsewhere, capsys):
    printed = output(capsys, "inspect", elsewhere, "--text", "abcab")
    assert "Written: inspect/" in printed
    output(capsys, "verify", elsewhere)


def test_compare_shows_the_result_of_a_bundle(trained_runs, elsewhere, tmp_path, capsys):
    printed = output(capsys, "compare", elsewhere, "--out", tmp_path / "a.png")
    result = json.loads((trained_runs / "cell=mingru,seed=0" / "result.json").read_text())
    assert f"{result['metrics']['test']['nll']:.4f}" in printed
    both = output(capsys, "compare", elsewhere, trained_runs, "--out", tmp_path / "b.png")
    assert "transformer" in both


def test_compare_of_a_run_and_its_bundle_has_one_row(trained_run, elsewhere, tmp_path, capsys):
    alone = output(capsys, "compare", trained_run, "--out", tmp_path / "a.png")
    for paths in ((trained_run, elsewhere), (elsewhere, trained_run)):
        assert output(capsys, "compare", *paths, "--out", tmp_path / "a.png") == alone


def test_compare_does_not_take_the_result_of_a_compressed_model_from_its_run(elsewhere, capsys):
    output(capsys, "quantize", elsewhere, "--out", "some/int8")
    code, line = error(capsys, "compare", "some/int8")
    assert (code, "and has that of the model before it was compressed" in line) == (3, True)
    code, line = error(capsys, "compare", "some")
    assert (code, "contains no finished run" in line) == (2, True)
    shutil.copytree(elsewhere, "some/abc")
    output(capsys, "compare", "some")


def test_directory_of_bundles_stands_for_the_only_one(elsewhere, capsys):
    folder = elsewhere.parent / "bundles"
    shutil.copytree(elsewhere, folder / "one")
    sampled = output(capsys, "sample", folder, "--prompt", "abc")
    assert sampled == output(capsys, "sample", elsewhere, "--prompt", "abc")
    output(capsys, "compare", folder)
    shutil.copytree(elsewhere, folder / "two")
    code, line = error(capsys, "sample", folder)
    assert (code, "contains 2 bundles: one, two; name one of them" in line) == (4, True)


def test_verify_names_the_files_of_a_bundle_and_what_changed(elsewhere, capsys):
    printed = output(capsys, "verify", elsewhere)
    assert "model.safetensors" in printed
    assert "valid" in output(capsys, "verify", elsewhere.parent)
    with (elsewhere / "card.md").open("a") as file:
        file.write("x")
    code, line = error(capsys, "verify", elsewhere)
    assert code == 4
    assert "card.md has changed since the bundle was written; restore it from a copy" in line


def test_card_and_description_name_no_folder_of_the_machine(bundle, trained_run):
    card = (bundle / "card.md").read_text()
    assert "| License | CC BY \\| 4.0 |" in card
    assert "| Question | Does it learn abc? |" in card
    assert "nll" in card
    assert "Kneser-Ney n-gram (baseline)" in card
    for path in bundle.iterdir():
        assert str(trained_run.parent).encode() not in path.read_bytes()
        assert b"/tmp" not in path.read_bytes()


def test_bundle_command_that_cannot_write_is_one_line(bundle, trained_run, tmp_path, capsys):
    code, line = error(capsys, "bundle", trained_run, "--out", bundle)
    assert (code, "must not exist, and does" in line) == (2, True)
    code, line = error(capsys, "bundle", tmp_path / "none")
    assert (code, "must be a run's directory" in line) == (4, True)
    code, line = error(capsys, "bundle", trained_run, "--out", tmp_path / "a b")
    assert (code, "got 'a b'; choose another --out" in line) == (2, True)
    words = "--sign-key", tmp_path / "none.pem"
    code, line = error(capsys, "bundle", trained_run, "--out", tmp_path / "new", *words)
    assert (code, "must be a file with a key" in line) == (2, True)
    assert not (tmp_path / "new").exists()


def test_signed_bundle_is_verified_by_the_public_key(trained_run, tmp_path, capsys):
    pytest.importorskip("model_signing")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    private = ec.generate_private_key(ec.SECP256R1())
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    out = tmp_path / "signed"
    assert "signed" in output(capsys, "bundle", trained_run, "--out", out, "--sign-key", key)
    assert "by the owner of key.pub" in output(capsys, "verify", out, "--public-key", public)
    (out / "model.sig").unlink()
    code, line = error(capsys, "verify", out, "--public-key", public)
    assert (code, "must be signed" in line) == (4, True)
    output(capsys, "bundle", out, "--sign-key", key)
    output(capsys, "verify", out, "--public-key", public)
    code, line = error(capsys, "bundle", out, "--license", "MIT")
    assert (code, "and is a bundle, which can only be signed" in line) == (2, True)
    code, line = error(capsys, "verify", trained_run, "--public-key", public)
    assert (code, "must be omitted for runs" in line) == (2, True)


def test_exported_files_of_a_bundle_are_compared_again_with_its_model(elsewhere, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    code, line = error(capsys, "verify", elsewhere, "--parity")
    assert (code, "must have exported files for --parity" in line) == (2, True)
    output(capsys, "export", elsewhere, "--step", "--no-sequence")
    assert "largest relative error" in output(capsys, "verify", elsewhere, "--parity")
    bundle = open_bundle(elsewhere)
    arrays = {name: 2 * array for name, array in bundle.arrays().items()}
    files = {name: bundle.read(name) for name in ("step.onnx", "parity.json")}
    other = elsewhere.parent / "other"
    write_bundle(other, bundle.description, arrays, files=files)
    output(capsys, "verify", other)
    code, line = error(capsys, "verify", other, "--parity")
    assert code == 4
    assert "step.onnx must differ from the model by at most" in line
