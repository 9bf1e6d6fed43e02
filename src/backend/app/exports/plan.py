"""Builds the payload of a render from a project."""

import apsw

from app.clips import rows as clip_rows
from app.db.rows import Row
from app.overlay_text import drawable
from app.storage.keys import ProfileKeys
from reel.payloads import PayloadError, ReelClip, RenderOptions, RenderReel

# A newer release may have stored more.
_OPTIONS = RenderOptions.__dataclass_fields__


def plan(connection: apsw.Connection, project: Row, export_id: str, keys: ProfileKeys) -> RenderReel:
    """The payload with the clips as they are now; later changes of clips do not affect the export.

    Raises PayloadError if the project is empty or too long, or has a text (stored by an older release) that cannot be
    drawn.
    """
    try:
        drawable(str(project["options"].get("overlay_text", "")))
    except ValueError as error:
        raise PayloadError(str(error)) from error
    found = [clip_rows.find(connection, clip_id) for clip_id in project["clip_ids"]]
    return RenderReel(
        export_id=export_id,
        output_key=keys.export(export_id),
        clips=tuple(_clip(clip, keys) for clip in found if clip is not None),
        options=RenderOptions(**{name: value for name, value in project["options"].items() if name in _OPTIONS}),
    )


def _clip(clip: Row, keys: ProfileKeys) -> ReelClip:
    # Always from the source: an extracted clip would be encoded twice, and may be replaced while it is read.
    return ReelClip(
        clip_id=clip["id"],
        source_key=keys.game_source(clip["game_id"], clip["game_extension"]),
        start_s=clip["start_s"],
        end_s=clip["end_s"],
    )
