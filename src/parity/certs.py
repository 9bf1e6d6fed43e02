"""A private CA and one leaf certificate for every TLS stand-in, made once and shared through two folders.

``ca_dir`` holds the private keys and is seen by stand-ins only; ``trust_dir`` holds ``ca.pem`` alone.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Apple's and Chromium's limit for leaf certificates is 398 and 825 days; renewal starts 30 days before the end.
_CA_DAYS, _LEAF_DAYS, _RENEW_DAYS = 3650, 397, 30


@dataclass(frozen=True)
class Certificates:
    """PEM files: the leaf with its chain, the leaf's key, and the CA that clients trust."""

    chain: Path
    key: Path
    ca: Path


def ensure_certificates(ca_dir: Path, trust_dir: Path, names: Sequence[str]) -> Certificates:
    """The certificate for ``names`` (host names or IP addresses), made or renewed where needed.

    Safe from several processes at once: the first one makes the files under a lock, the others find them.
    """
    ca_dir.mkdir(parents=True, exist_ok=True)
    trust_dir.mkdir(parents=True, exist_ok=True)
    found = Certificates(ca_dir / "leaf.pem", ca_dir / "leaf.key", trust_dir / "ca.pem")
    with _locked(ca_dir / "lock"):
        ca_pem, ca_key = ca_dir / "ca.pem", ca_dir / "ca.key"
        if not (ca_pem.exists() and ca_key.exists()):
            _make_ca(ca_pem, ca_key)
            found.chain.unlink(missing_ok=True)
        if not found.ca.exists() or found.ca.read_bytes() != ca_pem.read_bytes():
            _write(found.ca, ca_pem.read_bytes(), 0o644)
        if not _covers(found, names):
            _make_leaf(found, ca_pem, ca_key, names)
    return found


def publish_ca(ca: Path, state: Path, owner_of: Path) -> None:
    """Copy ``ca`` to ``trust/ca.pem`` in ``state``, a folder of the developer's checkout, mounted into a container.

    A folder that the engine made belongs to root: it is given to the owner of ``owner_of``, a file of the checkout.
    """
    folder = state / "trust"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "ca.pem", ca.read_bytes(), 0o644)
    owner = owner_of.stat()
    for path in (state, folder, folder / "ca.pem"):
        if path.stat().st_uid == 0 != owner.st_uid:
            with suppress(PermissionError):  # a file system of the host that keeps owners to itself
                os.chown(path, owner.st_uid, owner.st_gid)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, data: bytes, mode: int) -> None:
    part = path.with_name(path.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
    part.replace(path)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make_ca(pem: Path, key_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"parity stand-in CA {os.urandom(4).hex()}")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, _key_pem(key), 0o600)
    _write(pem, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _make_leaf(files: Certificates, ca_pem: Path, ca_key: Path, names: Sequence[str]) -> None:
    ca = x509.load_pem_x509_certificate(ca_pem.read_bytes())
    signer = serialization.load_pem_private_key(ca_key.read_bytes(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{ca_key} is not an elliptic-curve key; remove {ca_key.parent} to make a new CA")
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "parity stand-ins")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_LEAF_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write(files.key, _key_pem(key), 0o600)
    _write(files.chain, certificate.public_bytes(serialization.Encoding.PEM) + ca_pem.read_bytes(), 0o644)


def _covers(files: Certificates, names: Sequence[str]) -> bool:
    """Whether the leaf exists, was signed by this CA, names all of ``names`` and is not about to end."""
    if not (files.chain.exists() and files.key.exists()):
        return False
    leaf, *_ = x509.load_pem_x509_certificates(files.chain.read_bytes())
    ca = x509.load_pem_x509_certificate(files.ca.read_bytes())
    if leaf.issuer != ca.subject:
        return False
    if leaf.not_valid_after_utc < datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=_RENEW_DAYS):
        return False
    present = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(_general_name(name) in present for name in names)
