"""`rnnlab bundle`: write the model of a run to a folder that needs neither the run nor its data."""

from rnnlab.bundle import is_bundle
from rnnlab.bundle.format import SIGNATURE
from rnnlab.bundle.run_bundle import bundle_run
from rnnlab.bundle.signature import require_private_key, sign
from rnnlab.cli.deploy_commands import Bundle
from rnnlab.cli.shipped import question_of
from rnnlab.runs.api import read_settings
from rnnlab.tables import print_text


def bundle(command: Bundle) -> int:
    """Writes a bundle, and signs it where a key is named. Returns the exit code.

    Raises:
      CheckpointError: there is no run, or no valid checkpoint.
      ValueError: the run's model cannot be bundled, the folder exists, or the key is invalid.
    """
    if command.sign_key is not None:
        require_private_key(command.sign_key)
    if is_bundle(command.folder):
        return _sign_again(command)
    _, settings = read_settings(command.folder)
    written = bundle_run(
        command.folder,
        command.out,
        question=command.question or question_of(settings["experiment"]),
        license_text=command.license,
        strict=command.strict,
        overwrite=command.overwrite,
    )
    if command.sign_key is not None:
        sign(written.path, command.sign_key)
    size = sum(record.size for record in written.files.values())
    signed = ", signed" if command.sign_key is not None else ""
    print_text(
        f"{written.name}: {written.config.cell}, {size:,} bytes, SHA-256 of bundle.json "
        f"{written.digest[:16]}{signed}."
    )
    print("Written:", written.path)
    return 0


def _sign_again(command: Bundle) -> int:
    """Signs a bundle, such as one to which exported files were added."""
    if command != Bundle(command.folder, sign_key=command.sign_key) or command.sign_key is None:
        raise ValueError(
            f"{command.folder} must be a run, and is a bundle, which can only be signed; pass only "
            "--sign-key"
        )
    sign(command.folder, command.sign_key)
    print("Written:", command.folder / SIGNATURE)
    return 0
