"""Everything that one check's observation may use."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.async_api import Page

from parity.checks.kit import browser as chromium
from parity.checks.kit.admin import Admin
from parity.checks.kit.browser import Mapped, Notes
from parity.checks.kit.bucket import Bucket
from parity.checks.kit.http import Http, Recorder
from parity.checks.kit.media import Media
from parity.checks.kit.stage import Stage
from parity.config.project import Project

if TYPE_CHECKING:
    from parity.stack.target import Target


def _fresh_user() -> str:
    return f"check-{secrets.token_hex(5)}"


@dataclass
class Tools:
    """One observation's tools. ``user`` is new each time: no check sees what another left.

    ``admin``, ``stage``, ``bucket``, ``media`` and ``chromium`` are there for checks that declare the need; using one
    undeclared is a mistake of the check's author.
    """

    target: Target
    project: Project
    http: Http
    recorder: Recorder
    folder: Path
    user: str = field(default_factory=_fresh_user)
    notes: Notes = field(default_factory=Notes)
    admin_or_none: Admin | None = None
    stage_or_none: Stage | None = None
    bucket_or_none: Bucket | None = None
    media_or_none: Media | None = None
    chromium: str | None = None

    @property
    def admin(self) -> Admin:
        assert self.admin_or_none is not None, "declare Need.ADMIN"
        return self.admin_or_none

    @property
    def stage(self) -> Stage:
        assert self.stage_or_none is not None, "declare Need.ADMIN"
        return self.stage_or_none

    @property
    def bucket(self) -> Bucket:
        assert self.bucket_or_none is not None, "declare Need.ADMIN"
        return self.bucket_or_none

    @property
    def media(self) -> Media:
        assert self.media_or_none is not None, "declare Need.FFMPEG"
        return self.media_or_none

    @property
    def api_origin(self) -> str:
        """The API as browsers know it on Fly."""
        return f"https://{self.project.api_hostname}"

    def places(self) -> list[Mapped]:
        """Where the browser finds the public names."""
        settings = self.project.settings
        frontend = self.target.frontend_url
        if not frontend.startswith("https://"):
            frontend = f"https://localhost:{settings.frontend_tls_port}"
        return [
            Mapped(self.api_origin, self.target.api_url),
            Mapped(self.target.frontend_origin, frontend),
            Mapped(self.target.r2_url, self.target.r2_url),
        ]

    async def sweep(self) -> None:
        """Remove every object of this observation's user, wherever a broken variant put it."""
        if self.admin_or_none is not None:
            await self.bucket.remove([key for key in await self.admin.keys() if f"/{self.user}/" in key])

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A page of a fresh Chromium; the staging names lead to this stack."""
        assert self.chromium is not None, "declare Need.BROWSER"
        async with (
            chromium.chromium(self.chromium, self.places()) as browser,
            chromium.page(browser, self.notes, self.folder / "downloads") as page,
        ):
            yield page
