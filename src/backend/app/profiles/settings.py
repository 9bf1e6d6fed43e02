"""Settings of a profile, as rows of its database."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import apsw
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.db.rows import fetch_all
from app.models import Body
from app.overlay_text import drawable

AspectRatio = Literal["16:9", "9:16", "1:1", "4:5"]
Quality = Literal["low", "medium", "high"]
Transition = Literal["none", "fade"]
Theme = Literal["system", "light", "dark"]
OverlayText = Annotated[str, Field(max_length=120)]


class ProfileSettings(BaseModel):
    """The settings of a profile. A setting that was never stored has its default."""

    # A database may hold settings of a newer release: they are kept, not shown.
    model_config = ConfigDict(extra="ignore")

    overlay_text: OverlayText = ""
    aspect_ratio: AspectRatio = "16:9"
    quality: Quality = "medium"
    transition: Transition = "none"
    theme: Theme = "system"


class SettingsChange(Body):
    """Settings to change; those that are absent stay."""

    overlay_text: Annotated[OverlayText, AfterValidator(drawable)] = ""
    aspect_ratio: AspectRatio = "16:9"
    quality: Quality = "medium"
    transition: Transition = "none"
    theme: Theme = "system"


def read(connection: apsw.Connection) -> ProfileSettings:
    """The settings of this database."""
    rows = fetch_all(connection, "SELECT key, value FROM settings")
    return ProfileSettings.model_validate({row["key"]: json.loads(row["value"]) for row in rows})


def write(connection: apsw.Connection, values: dict[str, Any]) -> ProfileSettings:
    """Stores some settings; all of them as they are then."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    for key, value in values.items():
        connection.execute(
            "INSERT INTO settings (key, value, updated_at) VALUES (?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
            (key, json.dumps(value), now),
        )
    return read(connection)
