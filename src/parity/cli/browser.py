"""``parity browser``: opens a Chromium in which the app's public names lead to this stack."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import shutil
import subprocess

import click
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from parity.stack.addresses import browser_command
from parity.stack.errors import NotRunning, RequirementMissing
from parity.stack.target import Driver, local_project

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def public_key_hash(pem: bytes) -> str:
    """Base64 of the SHA-256 of a certificate's public key, the form that Chromium's flag takes."""
    key = x509.load_pem_x509_certificates(pem)[0].public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@click.command()
@click.option(
    "--print", "only_print", is_flag=True, help="Print the command that would open the browser, and do not run it."
)
def browser(only_print: bool) -> None:
    """Open the page of this stack in Chromium, under its public host name."""
    project, driver = local_project(os.environ)
    chromium = os.environ.get("PARITY_CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), "")
    shown = only_print or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if not chromium and not shown:
        raise RequirementMissing("no Chromium is on PATH", "install one, or set PARITY_CHROMIUM to its program")
    spki = public_key_hash(_served_certificate(project.settings.api_port, driver))
    profile = project.settings.state_dir / "browser"
    command = browser_command(chromium or NAMES[0], project, spki, profile)
    if shown:
        click.echo(shlex.join(command))
        return
    subprocess.Popen(command, start_new_session=True)


def _served_certificate(port: int, driver: Driver) -> bytes:
    """The certificate of the edge. All stand-ins use the same certificate."""
    import ssl

    try:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=5).encode()
    except OSError as error:
        raise NotRunning(f"the edge does not answer on port {port} ({driver}): {error}", "`parity up` first") from None
