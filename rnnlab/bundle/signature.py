"""Signatures of bundles by OpenSSF Model Signing, with an elliptic-curve key in a PEM file.

A signature covers every file of the folder. It is written and verified offline by the package
`model-signing`, of the extra `sign`, whose command verifies it too.
"""

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from rnnlab.atomic_io import raise_resource_errors, write_bytes
from rnnlab.bundle.bundle import open_bundle
from rnnlab.bundle.format import SIGNATURE
from rnnlab.errors import BundleError
from rnnlab.optional import require_module

EXTRA = "sign"


def require_private_key(key: Path) -> None:
    """Raises ValueError unless a file holds a private key that can sign."""
    _require_file(key, "--sign-key")
    _with_private_key(key)


def sign(folder: Path, key: Path) -> None:
    """Signs a bundle: writes `model.sig` into its folder, or replaces it.

    Args:
      folder: the bundle.
      key: a private key on the curve P-256, P-384 or P-521, PEM without a password.

    Raises:
      BundleError: the bundle is invalid.
      ValueError: the key cannot be read, or `model-signing` is not installed.
    """
    open_bundle(folder)
    signer = _with_private_key(key).set_hashing_config(_hashing())
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, SIGNATURE)
        signer.sign(folder, file)
        content = file.read_bytes()
    # Through a file outside of the folder, in which nothing else than a whole file may appear.
    staged = folder.with_name(f".{folder.name}.{SIGNATURE}")
    write_bytes(staged, content)
    with raise_resource_errors(folder / SIGNATURE):
        os.replace(staged, folder / SIGNATURE)


def verify_signature(folder: Path, key: Path) -> None:
    """Checks the signature of a bundle, and that it is by the owner of a key.

    Args:
      folder: the bundle.
      key: the public key, PEM.

    Raises:
      BundleError: there is no signature, it is of another key, or a file has changed since.
      ValueError: the key cannot be read, or `model-signing` is not installed.
    """
    _require_file(key, "--public-key")
    signature = folder / SIGNATURE
    if not signature.is_file() or signature.is_symlink():
        raise BundleError(
            f"{folder} must be signed, and has no {SIGNATURE}; sign it with --sign-key"
        )
    verifying = require_module("model_signing.verifying", EXTRA)
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except Exception as error:
        raise _bad_key(key, "public", error) from None
    verifier.set_hashing_config(_hashing())
    try:
        verifier.verify(folder, signature)
    except Exception as error:  # the package raises errors of its dependencies
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(
            f"{signature} must be the signature of this bundle by the owner of {key}, and is not: "
            f"{reason}; do not use the bundle"
        ) from None


def _hashing() -> Any:
    hashing = require_module("model_signing.hashing", EXTRA).Config()
    return hashing.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _with_private_key(key: Path) -> Any:
    signing = require_module("model_signing.signing", EXTRA)
    logging.getLogger("model_signing").setLevel(logging.WARNING)
    try:
        return signing.Config().use_elliptic_key_signer(private_key=key)
    except Exception as error:  # cryptography raises several kinds
        raise _bad_key(key, "private", error) from None


def _require_file(key: Path, flag: str) -> None:
    if not key.is_file():
        raise ValueError(f"{key} must be a file with a key, and is not a file; correct {flag}")


def _bad_key(key: Path, kind: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ValueError(
        f"{key} must be a {kind} key of an elliptic curve, PEM without a password, and cannot be "
        f"read: {reason}; make one with `openssl ecparam -name prime256v1 -genkey -noout`"
    )
