"""A real Chromium in which the app's public names lead to this stack."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from parity.checks.again import RunAgain
from parity.checks.stack import Site

FLAGS = (
    "--no-sandbox",  # checks run as root in a container
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    # Without this, a public page may not reach this host, where the stack runs, without the user's consent (Chromium
    # 142, Local Network Access). The real app is on the public web, so users meet no such question.
    "--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessSendPreflights,BlockInsecurePrivateNetworkRequests",
)


class NetworkChanged(RunAgain):
    """The host's network interfaces changed, at which Chromium aborts requests. This says nothing about the app."""


@dataclass
class Notes:
    """What the pages of a check logged, which of their requests failed, and the last screenshot."""

    console: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    screenshot: bytes | None = None


@dataclass(frozen=True)
class Mapped:
    """A public address, and the address at which this stack serves it."""

    public: str
    here: str


def find_chromium(environ: Mapping[str, str] = os.environ) -> str | None:
    """The path of Chromium: ``PARITY_CHROMIUM``, else the first of the usual names on PATH; None without one."""
    if environ.get("PARITY_CHROMIUM"):
        return environ["PARITY_CHROMIUM"]
    found = (shutil.which(name, path=environ.get("PATH")) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


def places(site: Site) -> list[Mapped]:
    """The public addresses of the app, its page and its bucket, and where this stack serves them."""
    target, settings = site.target, site.project.settings
    found = [Mapped(f"https://{site.project.api_hostname}", target.api_url)]
    if site.origin:
        page = target.frontend_url
        here = page if page.startswith("https://") else f"https://localhost:{settings.frontend_tls_port}"
        found.append(Mapped(site.origin, here))
    return [*found, Mapped(target.r2_url, target.r2_url)]


def resolver_rules(mapped: list[Mapped]) -> str:
    """The value of ``--host-resolver-rules``, which maps only names that the browser would resolve wrongly.

    Chromium resolves every ``*.localhost`` to this host, which is wrong inside a container network.
    """
    rules = []
    for place in mapped:
        public, here = _host_port(place.public), _host_port(place.here)
        if public != here or here[0].endswith(".localhost"):
            rules.append(f"MAP {public[0]}:{public[1]} {_address(here[0])}:{here[1]}")
    return ", ".join(rules)


def _host_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _address(host: str) -> str:
    """An IPv4 address for ``host``; the name itself where it cannot be resolved."""
    try:
        return str(ipaddress.ip_address(socket.gethostbyname(host)))
    except (OSError, ValueError):
        return "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host


@dataclass
class Pages:
    """Opens pages: ``async with page() as tab``. Each starts a new Chromium; ``notes`` goes into the evidence."""

    program: str
    mapped: list[Mapped]
    notes: Notes

    @asynccontextmanager
    async def __call__(self, *, counts_when_done: bool = False) -> AsyncIterator[Page]:
        """A Playwright ``Page``. Raises ``NetworkChanged`` at the end when the host's interfaces changed meanwhile.

        With ``counts_when_done`` a block that ends without an exception counts even then. That is right where the block
        itself waits for everything that a person must see, and wrong where a request must be refused.
        """
        rules = resolver_rules(self.mapped)
        arguments = [*FLAGS, *([f"--host-resolver-rules={rules}"] if rules else [])]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=self.program, args=arguments)
            try:
                async with self._page(browser, counts_when_done) as page:
                    yield page
            finally:
                await browser.close()

    @asynccontextmanager
    async def _page(self, browser: Browser, counts_when_done: bool) -> AsyncIterator[Page]:
        notes, done = self.notes, False
        first_failed, first_line = len(notes.failed), len(notes.console)
        # Chromium does not know the stack's CA. The HTTP client of the checks verifies the certificates instead.
        context: BrowserContext = await browser.new_context(ignore_https_errors=True, accept_downloads=True)
        try:
            opened = await context.new_page()
            opened.on("console", lambda message: notes.console.append(f"{message.type}: {message.text}"))
            opened.on("pageerror", lambda error: notes.console.append(f"uncaught: {error}"))
            opened.on(
                "requestfailed", lambda asked: notes.failed.append(f"{asked.method} {asked.url}: {asked.failure}")
            )
            try:
                yield opened
                done = True
            finally:
                if not opened.is_closed():
                    notes.screenshot = await opened.screenshot(full_page=True)
        finally:
            await context.close()
            said = (*notes.failed[first_failed:], *notes.console[first_line:])
            if not (done and counts_when_done) and any("ERR_NETWORK_CHANGED" in line for line in said):
                raise NetworkChanged(
                    "the host's network interfaces changed while the browser ran, so it aborted requests. Run the"
                    " checks in their container (make check), which has interfaces of its own"
                )
