"""Bodies of `/api/games`."""

import json
from typing import Annotated, Literal

from pydantic import Field

from app.db.rows import Row
from app.games.upload_plan import EXTENSIONS
from app.jobs.models import JobStatus, relative_key
from app.models import WHOLE, Body, View, name

Name = Annotated[str, name(200)]


# The document's pattern names the endings too; a wrong one gets a better message than a pattern from the handler.
_ENDINGS = "|".join("".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in ending) for ending in EXTENSIONS)
Filename = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^/\\\x00-\x1f]+$",
        json_schema_extra={"pattern": rf"^[^/\\\x00-\x1f]*[^/\\\x00-\x20]\.({_ENDINGS})$"},
    ),
]


class NewUpload(Body):
    name: Name
    filename: Filename
    content_type: Annotated[str, Field(pattern=r"^(video/[A-Za-z0-9.+-]{1,60}|application/octet-stream)$")]
    size: Annotated[int, Field(ge=1, description="Bytes."), WHOLE]


class SingleUpload(View):
    method: Literal["single"] = "single"
    url: str
    headers: dict[str, str] = Field(description="Send exactly these with the PUT.")


class UploadPart(View):
    part_number: int
    url: str
    size: int


class MultipartUpload(View):
    method: Literal["multipart"] = "multipart"
    upload_id: str
    part_size: int
    parts: list[UploadPart]


class PreparedUpload(View):
    game_id: str
    upload: Annotated[SingleUpload | MultipartUpload, Field(discriminator="method")]
    expires_at: str
    expires_in: int = Field(description="Seconds that the URLs are good for; POST …/upload-urls makes fresh ones.")


class FinishedPart(Body):
    part_number: Annotated[int, Field(ge=1, le=10_000), WHOLE]
    etag: Annotated[
        str, Field(min_length=1, max_length=100, pattern=r"\S", description="ETag header of the PUT of this part.")
    ]


class FinishUpload(Body):
    parts: list[FinishedPart] = Field(default_factory=list, max_length=10_000, description="Empty for a single PUT.")


class GameChange(Body):
    name: Name


class Preview(View):
    """A small H.264 copy of the game, for browsers that cannot play its video."""

    status: JobStatus
    progress: float = Field(description="0 to 1.")
    reason: str | None = Field(description="Why it failed.")
    key: str | None = Field(description="Relative to the profile, once complete.")


class GameView(View):
    id: str
    name: str
    filename: str
    content_type: str
    status: Literal["uploading", "inspecting", "ready", "refused", "failed"] = Field(
        description="`inspecting`: the whole video is being read, ask again until it is `ready`. `refused`: the video "
        "cannot be used, `reason` says why; only deleting is left. `failed`: it could not be read; finalize again."
    )
    reason: str | None = Field(description="Why the video was refused, or could not be read.")
    progress: float | None = Field(description="While `inspecting`: how much of the video was read, 0 to 1.")
    size: int
    key: str = Field(description="Relative to the profile, as /api/storage/url takes it.")
    duration: float | None = Field(description="Seconds; null until the game is ready.")
    width: int | None
    height: int | None
    frame_rate: float | None = Field(
        description="Frames per second, on average; null until ready, and for games of earlier releases."
    )
    video_codec: str | None
    audio_codec: str | None
    preview: Preview | None = Field(description="Null until POST …/preview asks for it.")
    created_at: str
    updated_at: str


class GameList(View):
    games: list[GameView]


def view(row: Row) -> GameView:
    return GameView(
        id=row["id"],
        name=row["name"],
        filename=row["filename"],
        content_type=row["content_type"],
        status=row["state"],
        reason=row["reason"] if row["state"] in ("refused", "failed") else None,
        progress=round(row["progress"], 4) if row["state"] == "inspecting" else None,
        size=row["size_bytes"],
        key=f"games/{row['id']}/source.{row['extension']}",
        duration=row["duration_s"],
        width=row["width"],
        height=row["height"],
        frame_rate=row["frame_rate"],
        video_codec=row["video_codec"],
        audio_codec=row["audio_codec"],
        preview=_preview(row),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _preview(row: Row) -> Preview | None:
    if row["preview_status"] is None:
        return None
    return Preview(
        status=JobStatus(row["preview_status"]),
        progress=round(row["preview_progress"], 4),
        reason=row["preview_reason"],
        key=relative_key(json.loads(row["preview_result"])) if row["preview_result"] else None,
    )
