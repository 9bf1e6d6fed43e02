"""A real Chromium, which meets the staging names where the stack serves them."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from parity.checks.model import Unobservable

FLAGS = (
    "--no-sandbox",  # checks run as root in a container
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-gpu",
)


@dataclass
class Notes:
    """What pages logged and which of their requests failed."""

    console: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    screenshot: bytes | None = None


def find_chromium(environ: Mapping[str, str] = os.environ) -> str | None:
    """``PARITY_CHROMIUM``, else the first of the usual names on PATH."""
    if environ.get("PARITY_CHROMIUM"):
        return environ["PARITY_CHROMIUM"]
    found = (shutil.which(name, path=environ.get("PATH")) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


@dataclass(frozen=True)
class Mapped:
    """A host and port as URLs name it, and where it is served here."""

    public: str
    here: str


def resolver_rules(places: list[Mapped]) -> str:
    """The value of ``--host-resolver-rules``: only what the resolver would get wrong is mapped.

    Chromium takes every ``*.localhost`` for this host, which is wrong inside a container network.
    """
    rules = []
    for place in places:
        public, here = _host_port(place.public), _host_port(place.here)
        if public != here or here[0].endswith(".localhost"):
            rules.append(f"MAP {public[0]}:{public[1]} {_address(here[0])}:{here[1]}")
    return ", ".join(rules)


def _host_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _address(host: str) -> str:
    """An IPv4 address for ``host``; the name itself where it cannot be looked up."""
    try:
        return str(ipaddress.ip_address(socket.gethostbyname(host)))
    except (OSError, ValueError):
        return "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host


@asynccontextmanager
async def chromium(program: str, places: list[Mapped]) -> AsyncIterator[Browser]:
    """One browser. The stack's own CA is not known to it: certificates are checked by the HTTP client's checks."""
    rules = resolver_rules(places)
    arguments = [*FLAGS, *([f"--host-resolver-rules={rules}"] if rules else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


class NetworkChanged(Unobservable):
    """Chromium aborts requests when an interface of the host comes or goes; that says nothing about the product."""


@asynccontextmanager
async def page(browser: Browser, notes: Notes, downloads: Path) -> AsyncIterator[Page]:
    """One page in a context of its own; ends with a screenshot in ``notes``.

    Raises ``NetworkChanged`` at its end when the host's interfaces changed under it.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    context: BrowserContext = await browser.new_context(ignore_https_errors=True, accept_downloads=True)
    try:
        opened = await context.new_page()
        opened.on("console", lambda message: notes.console.append(f"{message.type}: {message.text}"))
        opened.on("pageerror", lambda error: notes.console.append(f"uncaught: {error}"))
        opened.on(
            "requestfailed", lambda request: notes.failed.append(f"{request.method} {request.url}: {request.failure}")
        )
        try:
            yield opened
        finally:
            if not opened.is_closed():
                notes.screenshot = await opened.screenshot(full_page=True)
    finally:
        await context.close()
        if any("ERR_NETWORK_CHANGED" in line for line in (*notes.failed, *notes.console)):
            raise NetworkChanged("the host's network interfaces changed while the browser ran")
