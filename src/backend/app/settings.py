# ruff: noqa: RUF009 - the calls in the defaults are the rows of the table
"""The table of all environment variables that the backend reads.

Each field of `Settings` is one row: variable, type, default and help. A test compares `docs/settings.md` with it. At
start, one error lists all wrong values, each with the expected form.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

from app import values

T = TypeVar("T")


class Environment(StrEnum):
    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class SettingsError(Exception):
    """The environment has wrong or missing values; `problems` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("Wrong environment variables:\n" + "\n".join(f"  - {problem}" for problem in problems))


@dataclass(frozen=True)
class Variable(Generic[T]):
    """One row of the table: the name of an environment variable, its type and its help."""

    name: str
    kind: values.Kind[T]
    help: str
    secret: bool = False


def _variable(name: str, kind: values.Kind[T], default: T | Callable[[], T], help_: str, *, secret: bool = False) -> T:
    metadata = {"variable": Variable(name, kind, help_, secret)}
    made: Any = (
        field(default_factory=default, metadata=metadata, repr=not secret)
        if callable(default)
        else field(default=default, metadata=metadata, repr=not secret)
    )
    value: T = made
    return value


def _project_root() -> Path:
    # app/settings.py -> app -> backend -> src -> project root; in the image the chain ends at "/".
    return Path(__file__).resolve().parent.parent.parent.parent


def _default_user_data() -> Path:
    return _project_root() / "user_data"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The backend's configuration, read once at start."""

    env: Environment = _variable(
        "ENV",
        values.choice(Environment),
        Environment.DEVELOPMENT,
        "Kind of environment; error details are sent to clients only in `development`.",
    )
    debug: bool = _variable("DEBUG", values.BOOL, False, "Log at DEBUG instead of INFO.")
    app_env: str = _variable(
        "APP_ENV", values.IDENTIFIER, "dev", "First part of every key, so that environments can share a bucket."
    )
    cors_origins: tuple[str, ...] = _variable(
        "CORS_ORIGINS",
        values.ORIGINS,
        (),
        "Origins of frontends, besides http://localhost:5173 and http://localhost:3000.",
    )
    access_token: str = _variable(
        "ACCESS_TOKEN",
        values.TOKEN,
        "",
        "Token that every request must send (`Authorization: Bearer`). If it is empty, everyone who can reach the API"
        " can act as any user, because X-User-ID is not authentication.",
        secret=True,
    )
    git_commit: str = _variable(
        "GIT_COMMIT", values.TEXT, "", "Commit from which the image was built; if empty, git is asked."
    )
    user_data_dir: Path = _variable(
        "USER_DATA_DIR",
        values.PATH,
        _default_user_data,
        "Folder of the local database cache, and of objects if R2_ENABLED is false.",
    )
    clear_pending_jobs_on_startup: bool = _variable(
        "CLEAR_PENDING_JOBS_ON_STARTUP",
        values.BOOL,
        False,
        "At start, mark unfinished jobs as failed instead of resuming them; for development.",
    )

    r2_enabled: bool = _variable(
        "R2_ENABLED", values.BOOL, False, "Store databases and videos in R2 instead of local files."
    )
    r2_endpoint: str = _variable("R2_ENDPOINT", values.URL, "", "S3 endpoint of R2.")
    r2_access_key_id: str = _variable("R2_ACCESS_KEY_ID", values.TEXT, "", "Access key of R2.", secret=True)
    r2_secret_access_key: str = _variable("R2_SECRET_ACCESS_KEY", values.TEXT, "", "Secret key of R2.", secret=True)
    r2_bucket: str = _variable("R2_BUCKET", values.BUCKET, "", "Bucket of R2.")
    r2_connect_seconds: float = _variable(
        "R2_CONNECT_SECONDS", values.seconds(0.1, 60), 3.0, "Timeout for connecting to R2."
    )
    r2_read_seconds: float = _variable(
        "R2_READ_SECONDS", values.seconds(0.1, 300), 10.0, "Read timeout: longest pause of R2 within one response."
    )
    r2_total_seconds: float = _variable(
        "R2_TOTAL_SECONDS",
        values.seconds(0.5, 600),
        25.0,
        "Deadline for one call with an object of up to 4 MiB, including retries and the wait for a free connection.",
    )
    r2_transfer_seconds: float = _variable(
        "R2_TRANSFER_SECONDS",
        values.seconds(1, 7200),
        900.0,
        "Deadline for one call with a file or a larger object.",
    )
    r2_attempts: int = _variable("R2_ATTEMPTS", values.integer(1, 10), 4, "Attempts for one call to R2.")
    presign_seconds: int = _variable(
        "PRESIGN_SECONDS", values.integer(60, 604_800), 3600, "How long a presigned URL is valid."
    )
    local_storage_url: str = _variable(
        "LOCAL_STORAGE_URL",
        values.URL,
        "http://localhost:8080",
        "URL of this backend for clients, used in presigned URLs if R2_ENABLED is false.",
    )

    modal_enabled: bool = _variable(
        "MODAL_ENABLED", values.BOOL, False, "Send GPU work to Modal instead of running ffmpeg on the Machine."
    )
    modal_token_id: str = _variable("MODAL_TOKEN_ID", values.TEXT, "", "Token id of Modal.", secret=True)
    modal_token_secret: str = _variable("MODAL_TOKEN_SECRET", values.TEXT, "", "Token secret of Modal.", secret=True)
    modal_server_url: str = _variable(
        "MODAL_SERVER_URL", values.URL, "", "URL of Modal's control plane; empty: the real one."
    )

    max_body_bytes: int = _variable(
        "MAX_BODY_BYTES",
        values.integer(1024, 1_000_000),
        1_000_000,
        "Largest request body. Fly's proxy cannot replay a larger one to another Machine. Videos are uploaded to R2.",
    )
    max_body_seconds: float = _variable(
        "MAX_BODY_SECONDS",
        values.seconds(0.1, 600),
        10.0,
        "How long a request body may take to arrive. A stop waits for it, so it must be below Fly's kill_timeout.",
    )
    max_upload_bytes: int = _variable(
        "MAX_UPLOAD_BYTES",
        values.integer(1024, 5 * 1024**4),
        10 * 1024**3,
        "Largest video.",
    )
    multipart_threshold_bytes: int = _variable(
        "MULTIPART_THRESHOLD_BYTES",
        values.integer(5 * 1024**2, 5 * 1024**3 - 5 * 1024**2),
        64 * 1024**2,
        "Videos from this size on are uploaded in parts.",
    )
    part_bytes: int = _variable(
        "PART_BYTES",
        values.integer(5 * 1024**2, 5 * 1024**3 - 5 * 1024**2),
        16 * 1024**2,
        "Size of a part. R2 requires that all parts but the last have the same size, at least 5 MiB.",
    )
    ffmpeg_seconds: float = _variable(
        "FFMPEG_SECONDS", values.seconds(1, 86_400), 1800.0, "Deadline for one run of ffmpeg."
    )

    sync_read_check_seconds: float = _variable(
        "SYNC_READ_CHECK",
        values.READ_CHECK,
        1.0,
        "Age from which a cached database is compared with R2 before a read: `always`, `never` or seconds.",
    )
    sync_max_open_profiles: int = _variable(
        "SYNC_MAX_OPEN_PROFILES", values.integer(1, 10_000), 64, "Profiles whose databases stay open."
    )
    sync_max_cached_profiles: int = _variable(
        "SYNC_MAX_CACHED_PROFILES",
        values.integer(1, 1_000_000),
        2000,
        "Profiles whose databases stay on the local disk; the least recently used one is removed first.",
    )
    sync_max_cached_bytes: int = _variable(
        "SYNC_MAX_CACHED_BYTES",
        values.integer(1, 1 << 40),
        1 << 30,
        "Bytes of the local disk for copies of databases.",
    )
    sync_retention_days: int = _variable(
        "SYNC_RETENTION_DAYS",
        values.integer(1, 3650),
        30,
        "Minimum age in days at which replicated files are deleted, and so how far back a restore can go. The values of"
        " two Machines may differ by a factor of 2 at most.",
    )
    profile_cache_seconds: float = _variable(
        "PROFILE_CACHE_SECONDS",
        values.seconds(0, 3600),
        30.0,
        "How long a Machine assumes that a profile exists before it asks R2 again.",
    )
    status_probe_seconds: float = _variable(
        "STATUS_PROBE_SECONDS", values.seconds(0.1, 30), 2.0, "Deadline for each probe of /api/status."
    )
    shutdown_seconds: float = _variable(
        "SHUTDOWN_SECONDS",
        values.seconds(0.1, 300),
        4.0,
        "How long running jobs may take to stop; it must be below Fly's kill_timeout.",
    )

    fly_machine_id: str = _variable("FLY_MACHINE_ID", values.TEXT, "", "Machine this process runs on; set by Fly.")
    fly_region: str = _variable("FLY_REGION", values.TEXT, "", "Region of the Machine; set by Fly.")
    fly_app_name: str = _variable("FLY_APP_NAME", values.TEXT, "", "App of the Machine; set by Fly.")

    @property
    def development(self) -> bool:
        return self.env is Environment.DEVELOPMENT


def table() -> list[tuple[Variable[Any], Any]]:
    """Every variable with its default, in the order of `Settings`."""
    empty = Settings()
    return [(item.metadata["variable"], getattr(empty, item.name)) for item in fields(Settings)]


def markdown() -> str:
    """The text of `docs/settings.md`. `PYTHONPATH=src/backend python -m app.settings` prints it."""
    lines = [
        "# Settings of the backend",
        "",
        "Generated from the table in `src/backend/app/settings.py`, as a test checks. An empty value counts as absent.",
        "",
        "| variable | expected | default | what for |",
        "|---|---|---|---|",
    ]
    for variable, default in table():
        name = f"`{variable.name}`" + (" (secret)" if variable.secret else "")
        lines.append(f"| {name} | {variable.kind.expected} | {_shown(default)} | {variable.help} |")
    return "\n".join(lines) + "\n"


def _shown(default: Any) -> str:
    if isinstance(default, Path):
        return "`user_data` in the project's root"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "" if default in ("", ()) else f"`{default}`"


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings of `environ`; an empty value counts as absent.

    Raises one `SettingsError` that names all wrong and missing variables.
    """
    problems: list[str] = []
    read: dict[str, Any] = {}
    for item in fields(Settings):
        variable: Variable[Any] = item.metadata["variable"]
        text = environ.get(variable.name, "").strip()
        if not text:
            continue
        try:
            read[item.name] = variable.kind.parse(text)
        except ValueError:
            shown = "the given value" if variable.secret else repr(text)
            problems.append(f"{variable.name}: expected {variable.kind.expected}, got {shown}")
    settings = Settings(**read)
    named = {problem.split(":", 1)[0] for problem in problems}
    problems += [problem for problem in _contradictions(settings) if problem.split(":", 1)[0] not in named]
    if problems:
        raise SettingsError(problems)
    return settings


def _contradictions(settings: Settings) -> list[str]:
    found: list[str] = []
    if settings.r2_enabled:
        for name, value in (
            ("R2_ENDPOINT", settings.r2_endpoint),
            ("R2_ACCESS_KEY_ID", settings.r2_access_key_id),
            ("R2_SECRET_ACCESS_KEY", settings.r2_secret_access_key),
            ("R2_BUCKET", settings.r2_bucket),
        ):
            if not value:
                found.append(f"{name}: required because R2_ENABLED is true")
    if settings.modal_enabled:
        # In development the token may come from ~/.modal.toml, which no Machine has.
        if not settings.development:
            for name, value in (
                ("MODAL_TOKEN_ID", settings.modal_token_id),
                ("MODAL_TOKEN_SECRET", settings.modal_token_secret),
            ):
                if not value:
                    found.append(f"{name}: required because MODAL_ENABLED is true")
        if not settings.r2_enabled:
            found.append("R2_ENABLED: must be true because MODAL_ENABLED is true (its functions use the bucket)")
    return found


def load() -> Settings:
    """The settings of this process. In development, `.env` in the project's root adds variables that are not set."""
    if os.environ.get("ENV", "").strip() in ("", Environment.DEVELOPMENT):
        from dotenv import load_dotenv

        load_dotenv(_project_root() / ".env", override=False)
    return from_environment(os.environ)


if __name__ == "__main__":
    import sys

    sys.stdout.write(markdown())
