"""Signatures of bundles: made offline, found wrong for every change, and never invented here."""

import subprocess

import pytest

from rnnlab.bundle import add_files, open_bundle
from rnnlab.bundle.signature import sign, verify_signature
from rnnlab.errors import BundleError

pytest.importorskip("model_signing")
pytest.importorskip("OpenSSL")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Files of two pairs of keys: private, public, and the public key of somebody else."""
    folder = tmp_path_factory.mktemp("keys")
    pem, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    paths = {}
    for owner in ("mine", "other"):
        private = ec.generate_private_key(ec.SECP256R1())
        secret = private.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        paths[owner] = folder / f"{owner}.pem"
        paths[owner].write_bytes(secret)
        paths[f"{owner} public"] = folder / f"{owner}.pub"
        paths[f"{owner} public"].write_bytes(private.public_key().public_bytes(pem, info))
    return paths


def test_signed_bundle_is_valid_under_any_name(folder, keys):
    sign(folder, keys["mine"])
    verify_signature(folder, keys["mine public"])
    moved = folder.rename(folder.parent / "moved")
    verify_signature(moved, keys["mine public"])
    open_bundle(moved)


def test_signature_of_another_key_is_refused(folder, keys):
    sign(folder, keys["other"])
    with pytest.raises(BundleError, match="by the owner of") as caught:
        verify_signature(folder, keys["mine public"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["bundle.json", "model.safetensors", "card.md", "model.sig"])
def test_any_changed_file_of_a_signed_bundle_is_refused(folder, keys, name):
    sign(folder, keys["mine"])
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match="do not use the bundle"):
        verify_signature(folder, keys["mine public"])


def test_bundle_without_signature_is_refused_where_one_is_required(folder, keys):
    with pytest.raises(BundleError, match=r"must be signed, and has no model.sig"):
        verify_signature(folder, keys["mine public"])


def test_signed_bundle_takes_no_files_until_the_signature_is_removed(folder, keys):
    sign(folder, keys["mine"])
    with pytest.raises(ValueError, match="must not be signed while files are added"):
        add_files(folder, {"a.txt": b"a"})
    (folder / "model.sig").unlink()
    add_files(folder, {"a.txt": b"a"})
    sign(folder, keys["mine"])
    verify_signature(folder, keys["mine public"])


def test_file_that_is_not_a_key_is_refused_in_one_line(folder, keys):
    with pytest.raises(ValueError, match="must be a private key of an elliptic curve"):
        sign(folder, keys["mine public"])
    sign(folder, keys["mine"])
    with pytest.raises(ValueError, match="must be a public key of an elliptic curve"):
        verify_signature(folder, folder / "card.md")


@pytest.mark.slow
def test_command_of_model_signing_verifies_the_signature(folder, keys):
    sign(folder, keys["mine"])
    command = ["model_signing", "verify", "key", str(folder)]
    command += ["--signature", str(folder / "model.sig"), "--public_key"]
    command += [str(keys["mine public"]), "--ignore-paths", str(folder / "model.sig")]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
