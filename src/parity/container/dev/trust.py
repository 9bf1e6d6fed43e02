"""Updates the trusted CAs of the dev container, for curl, Python, git, the aws CLI, Node and Chromium.

It adds to the CAs of the image: the stack's CA (created at the first start of the stack, and again after
``parity down --volumes``), and the CAs of a network that intercepts TLS, from the bundle that image builds use. Runs as
root when the container starts; ``serve.py`` runs it again when the stack's CA changes.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

STACK_CA = Path("/trust/ca.pem")
TRUSTED = Path("/run/trusted.pem")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
IMAGE_ROOTS = Path("/usr/share/ca-certificates")
ADDED = Path("/usr/local/share/ca-certificates/parity")
PREFIX = "parity-"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def certificates(text: str) -> list[str]:
    """The base64 bodies of the certificates in a PEM text, without white space."""
    return ["".join(body.split()) for body in _PEM.findall(text)]


def pem(body: str) -> str:
    """A certificate in PEM format, from its base64 body."""
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


def added(files: Iterable[Path], known: Iterable[Path]) -> list[str]:
    """The certificates of ``files`` that are not in ``known``, each once. Missing files are ignored."""
    have = {body for path in known for body in certificates(path.read_text("utf-8", "replace"))}
    found = [body for path in files if path.is_file() for body in certificates(path.read_text("utf-8", "replace"))]
    return [body for body in dict.fromkeys(found) if body not in have]


def trust_for_the_system(bodies: list[str]) -> None:
    """Replace the certificates of the last run in the system's bundle and in the folder of ``update-ca-certificates``.

    It does not run that command, which takes a second, and half a minute on a busy disk.
    """
    ADDED.mkdir(parents=True, exist_ok=True)
    old = {body for path in ADDED.glob("*.crt") for body in certificates(path.read_text("ascii"))}
    kept = [body for body in certificates(BUNDLE.read_text("utf-8", "replace")) if body not in old]
    for path in ADDED.glob("*.crt"):
        path.unlink()
    for number, body in enumerate(bodies):
        (ADDED / f"{PREFIX}{number}.crt").write_text(pem(body))
    new = BUNDLE.with_suffix(".new")
    new.write_text("".join(pem(body) for body in dict.fromkeys([*kept, *bodies])))
    new.chmod(0o644)
    new.replace(BUNDLE)


def trust_for_chromium(user: pwd.struct_passwd) -> None:
    """Replace the certificates of the last run in the user's NSS database, which Chromium reads instead of the bundle.

    The database is changed in /dev/shm and then copied, because on a disk each change can take seconds (``fsync``).
    """
    home = Path(user.pw_dir) / ".pki/nssdb"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        work = Path(name)
        database = f"sql:{work}"
        if (home / "cert9.db").exists():
            shutil.copytree(home, work, dirs_exist_ok=True)
        else:
            _certutil("-N", "--empty-password", "-d", database)
        old = re.findall(rf"^({PREFIX}\d+) ", _certutil("-L", "-d", database), re.MULTILINE)
        batch = [f"-D -n {name}" for name in old]
        batch += [f"-A -n {path.stem} -t C,, -a -i {path}" for path in sorted(ADDED.glob("*.crt"))]
        if batch:
            (work / "batch").write_text("\n".join(batch) + "\n")
            _certutil("-B", "-i", str(work / "batch"), "-d", database)
        for folder in (home.parent, home):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, user.pw_uid, user.pw_gid)
        for file in ("cert9.db", "key4.db", "pkcs11.txt"):
            new = home / f"{file}.new"
            shutil.copyfile(work / file, new)
            new.chmod(0o600)
            os.chown(new, user.pw_uid, user.pw_gid)
            new.replace(home / file)


def _certutil(*words: str) -> str:
    return subprocess.run(["certutil", *words], capture_output=True, text=True, check=True).stdout


def main() -> None:
    with Path("/run/trust.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seen = STACK_CA.read_bytes() if STACK_CA.exists() else b""
        network = Path(os.environ.get("DEV_FOLDER", "/nowhere"), ".parity/build/ca.pem")
        bodies = added([STACK_CA, network], IMAGE_ROOTS.rglob("*.crt"))
        trust_for_the_system(bodies)
        trust_for_chromium(pwd.getpwnam("dev"))
        TRUSTED.write_bytes(seen)


if __name__ == "__main__":
    main()
