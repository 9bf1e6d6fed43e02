"""Builds every key of the bucket from APP_ENV and validated ids, which cannot contain a path.

`{APP_ENV}/users/{user}/profiles/{profile}/…` and, per user, `{APP_ENV}/users/{user}/profiles.json`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from app.context import UserContext
from app.ids import check_id

_EXTENSION = re.compile(r"[a-z0-9]{1,8}")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_SERVED_FOLDERS = frozenset({"games", "clips", "exports"})
RELATIVE_PATTERN = r"^(games|clips|exports)(/[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,99})+$"
"""What `ProfileKeys.relative` accepts, up to 300 characters, for the OpenAPI document."""
RELATIVE_FORM = "games/…, clips/… or exports/… with plain names between slashes"


class InvalidKey(ValueError):
    """Text that cannot be a key below a profile."""


@dataclass(frozen=True)
class ProfileKeys:
    """Keys of one profile."""

    app_env: str
    context: UserContext

    @property
    def prefix(self) -> str:
        """The prefix of all keys of the profile; ends in a slash."""
        return f"{self.app_env}/users/{self.context.user_id}/profiles/{self.context.profile_id}/"

    @property
    def database(self) -> str:
        return f"{self.prefix}database.sqlite"

    @property
    def database_folder(self) -> str:
        return f"{self.prefix}database/"

    def game_source(self, game_id: str, extension: str) -> str:
        """`extension` without its dot, e.g. `mp4`."""
        if not _EXTENSION.fullmatch(extension):
            raise InvalidKey(f"extension {extension[:20]!r} is not valid: expected 1 to 8 characters of a-z and 0-9")
        return f"{self.game_folder(game_id)}source.{extension}"

    def is_game_source(self, key: str) -> bool:
        """Whether it is the key of a game's source, which a client may upload."""
        folder, _, rest = key.removeprefix(f"{self.prefix}games/").partition("/")
        return key.startswith(f"{self.prefix}games/{folder}/source.") and "/" not in rest

    def game_folder(self, game_id: str) -> str:
        return f"{self.prefix}games/{check_id(game_id, 'game id')}/"

    def game_preview(self, game_id: str, number: int) -> str:
        """The file of a game's preview job; `number` counts them from 0, because each job has a file of its own."""
        return f"{self.game_folder(game_id)}preview{f'-{number}' if number else ''}.mp4"

    def clip(self, clip_id: str) -> str:
        return f"{self.prefix}clips/{check_id(clip_id, 'clip id')}.mp4"

    def export(self, export_id: str) -> str:
        return f"{self.prefix}exports/{check_id(export_id, 'export id')}.mp4"

    def relative(self, key: str) -> str:
        """The full key of a media file that a client named relative to its profile, e.g. `exports/x.mp4`.

        Raises `InvalidKey` for anything outside of the media folders and anything that could mean another folder.
        """
        segments = key.split("/")
        if (
            len(key) > 300
            or len(segments) < 2
            or segments[0] not in _SERVED_FOLDERS
            or any(not _SEGMENT.fullmatch(segment) or ".." in segment for segment in segments)
        ):
            raise InvalidKey(f"key {key[:80]!r} is not valid: expected {RELATIVE_FORM}")
        return self.prefix + key


@dataclass(frozen=True)
class Keys:
    """Keys of one environment."""

    app_env: str

    def __post_init__(self) -> None:
        check_id(self.app_env, "APP_ENV")

    @property
    def root(self) -> str:
        return f"{self.app_env}/"

    def registry(self, user_id: str) -> str:
        """The user's list of profiles."""
        return f"{self.app_env}/users/{check_id(user_id, 'user id')}/profiles.json"

    def profiles_folder(self, user_id: str) -> str:
        return f"{self.app_env}/users/{check_id(user_id, 'user id')}/profiles/"

    def profile(self, context: UserContext) -> ProfileKeys:
        return ProfileKeys(self.app_env, context)


PIECES = ".pieces/"


def pieces_folder(output_key: str) -> str:
    """The folder of what a Machine has encoded of an unfinished job, beside the file that it will be."""
    return output_key.removesuffix(".mp4") + PIECES


def owner(key: str) -> str:
    """The profile prefix of a key, or of the beginning of a key."""
    return "/".join(key.split("/")[:5])


def local_database(user_data: Path, context: UserContext) -> Path:
    """The path of a profile's cached database on this disk."""
    return user_data / context.user_id / "profiles" / context.profile_id / "database.sqlite"
