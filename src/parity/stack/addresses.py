"""Builds what people and tools need to reach a stack: URLs, shell exports, and a browser's flags. Pure functions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from parity.config.project import Project
from parity.stack.target import Target

URL_KEYS = ("api", "frontend", "r2", "modal", "admin", "ca")


def urls(target: Target) -> dict[str, str]:
    """The addresses of the stack under exactly the keys ``URL_KEYS``; ``ca`` is a path."""
    values = (target.api_url, target.frontend_url, target.r2_url, target.modal_url, target.admin_url, target.ca)
    return {key: str(value or "") for key, value in zip(URL_KEYS, values, strict=True)}


def tool_environment(project: Project, target: Target, *, r2_resolves: bool) -> dict[str, str]:
    """Variables that point the aws CLI, boto3 and the Modal client at the stack.

    Checksums are limited to ``when_required``, because boto3 from 1.36 otherwise sends ``aws-chunked`` bodies, which R2
    is reported to refuse. ``r2_resolves`` says whether this machine resolves the name in ``target.r2_url``. Not every
    resolver knows names below ``localhost``; where it does not, ``localhost`` is used, which the certificate covers.
    """
    parts = urlsplit(target.r2_url)
    endpoint = target.r2_url if r2_resolves else f"{parts.scheme}://localhost:{parts.port or 443}"
    return {
        "AWS_ACCESS_KEY_ID": project.value("R2_ACCESS_KEY_ID"),
        "AWS_SECRET_ACCESS_KEY": project.value("R2_SECRET_ACCESS_KEY"),
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_REGION": "auto",
        "AWS_DEFAULT_REGION": "auto",
        "AWS_CA_BUNDLE": str(target.ca or ""),
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "R2_BUCKET": project.bucket,
        "MODAL_SERVER_URL": target.modal_url,
        "MODAL_TOKEN_ID": project.value("MODAL_TOKEN_ID"),
        "MODAL_TOKEN_SECRET": project.value("MODAL_TOKEN_SECRET"),
    }


def shell_exports(variables: Mapping[str, str]) -> str:
    """``export NAME=value`` lines for ``eval "$(parity env)"``."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def browser_command(chromium: str, project: Project, spki: str, profile: Path) -> list[str]:
    """The command that starts a Chromium in which the public names of the page and the API lead to this stack.

    Its resolver maps these names and R2's to this machine. Besides the system's certificates it accepts only the one
    whose public key has the base64 SHA-256 ``spki``, so other sites are verified as usual.
    """
    settings = project.settings
    here = "127.0.0.1"
    page = project.frontend_hostname
    rules = [
        *([f"MAP {page}:443 {here}:{settings.frontend_tls_port}"] if page else []),
        f"MAP {project.api_hostname}:443 {here}:{settings.api_port}",
        f"MAP {project.api_hostname}:80 {here}:{settings.api_http_port}",
        f"MAP *.localhost {here}",
    ]
    return [
        chromium,
        f"--user-data-dir={profile}",
        f"--host-resolver-rules={', '.join(rules)}",
        f"--ignore-certificate-errors-spki-list={spki}",
        "--no-first-run",
        "--no-default-browser-check",
        # QUIC and DNS over HTTPS would bypass the resolver rules.
        "--disable-quic",
        "--disable-features=DnsOverHttps",
        project.parity.app.frontend_origin or f"https://{project.api_hostname}",
    ]
