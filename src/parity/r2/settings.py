"""Settings of the R2 stand-in: the table of ``PARITY_R2_*`` variables, and its other inputs from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.config.settings import HarnessSettings
from parity.config.variables import (
    TEXT,
    URL,
    Kind,
    choice,
    names,
    number,
    read,
    refuse_unknown,
    rows,
    setting,
)
from parity.r2.cors import Policy, load_policy, with_page_of_stack
from parity.r2.latency import PROFILES
from parity.r2.rules import RULES, Choices
from parity.r2.sigv4 import Token
from parity.r2.throttle import WriteWindow


def _rule_numbers(text: str) -> frozenset[int]:
    numbers = frozenset(int(part) for part in text.replace(",", " ").split())
    if numbers - {rule.number for rule in RULES}:
        raise ValueError(text)
    return numbers


@dataclass(frozen=True, kw_only=True)
class R2Variables:
    """The table of the R2 stand-in."""

    store: str = setting(
        "PARITY_R2_STORE",
        choice("moto", "s3"),
        "moto",
        "what stores the objects: moto in this process, or another S3 server",
    )
    upstream_url: str = setting("PARITY_R2_UPSTREAM_URL", URL, "", "endpoint of the store `s3`")
    upstream_access_key_id: str = setting("PARITY_R2_UPSTREAM_ACCESS_KEY_ID", TEXT, "", "access key id of that store")
    upstream_secret_access_key: str = setting(
        "PARITY_R2_UPSTREAM_SECRET_ACCESS_KEY", TEXT, "", "secret access key of that store", secret=True
    )
    upstream_region: str = setting("PARITY_R2_UPSTREAM_REGION", TEXT, "us-east-1", "region of that store")
    unsigned_streaming: str = setting(
        "PARITY_R2_UNSIGNED_STREAMING",
        choice("401", "501", "accept"),
        "401",
        "answer to STREAMING-UNSIGNED-PAYLOAD-TRAILER bodies (boto3 from 1.36 on sends them by default over https)",
    )
    error_codes: str = setting(
        "PARITY_R2_ERROR_CODES",
        choice("documented", "captured"),
        "documented",
        "source of status and code where R2's error-codes page of 2026 and captures of real buckets differ",
    )
    if_range: str = setting(
        "PARITY_R2_IF_RANGE",
        choice("ignore", "honour"),
        "ignore",
        "whether a GET whose If-Range does not match gets the whole object",
    )
    head_range: str = setting(
        "PARITY_R2_HEAD_RANGE", choice("ignore", "honour"), "ignore", "whether HEAD with Range answers 206"
    )
    future_dates: str = setting(
        "PARITY_R2_FUTURE_DATES",
        choice("accept", "refuse"),
        "accept",
        "answer to a presigned URL whose X-Amz-Date is over 15 minutes ahead",
    )
    copy_range: str = setting(
        "PARITY_R2_COPY_RANGE",
        choice("clamp", "refuse"),
        "clamp",
        "answer to an UploadPartCopy whose range ends past the end of its source",
    )
    duplicate_part: str = setting(
        "PARITY_R2_DUPLICATE_PART",
        choice("problem", "not-found"),
        "problem",
        "wording of InvalidPart if CompleteMultipartUpload names a part twice",
    )
    unlisted_conditions: str = setting(
        "PARITY_R2_UNLISTED_CONDITIONS",
        choice("ignore", "check"),
        "ignore",
        "preconditions that R2's documents do not list: on DeleteObject and on the target of CopyObject",
    )
    write_window: WriteWindow = setting(
        "PARITY_R2_WRITE_WINDOW",
        Kind(WriteWindow.parse, "overlap, strict, or seconds such as 0.3-1.4"),
        "overlap",
        "how long a write to a key makes R2 answer 429 to other writes of the key",
    )
    latency: str = setting("PARITY_R2_LATENCY", choice(*PROFILES), "off", "delay of R2's answers")
    rules_off: frozenset[int] = setting(
        "PARITY_R2_RULES_OFF", Kind(_rule_numbers, "numbers of rules such as 1,16"), "", "rules that are switched off"
    )
    save_seconds: float = setting(
        "PARITY_R2_SAVE_SECONDS",
        Kind(number(0, 86_400).parse, "seconds, at most a day"),
        "60",
        "interval at which changes are saved to disk (0: only at the stop)",
    )
    durable: str = setting(
        "PARITY_R2_DURABLE",
        choice("interval", "always"),
        "interval",
        "when a write is saved to disk: at the next interval, or before each answer (slow)",
    )
    stall_seconds: float = setting(
        "PARITY_R2_STALL_SECONDS",
        Kind(number(0.01, 3600).parse, "seconds, at most an hour"),
        "60",
        "how long a client may pause in the middle of a body",
    )
    admin_access_key_id: str = setting(
        "PARITY_R2_ADMIN_ACCESS_KEY_ID", TEXT, "", "access key id of a token that may configure buckets; empty: none"
    )
    admin_secret_access_key: str = setting(
        "PARITY_R2_ADMIN_SECRET_ACCESS_KEY", TEXT, "", "secret access key of that token", secret=True
    )


@dataclass(frozen=True)
class Behaviour(Choices):
    """The behaviour that can be changed while the stand-in runs. Each field is a setting ``PARITY_R2_<FIELD>``."""

    write_window: WriteWindow = field(default_factory=WriteWindow)
    latency: str = "off"
    rules_off: frozenset[int] = frozenset()


BEHAVIOUR_FIELDS = tuple(found.name for found in fields(Behaviour))


def _to_text(value: object) -> str:
    """The text that the setting takes."""
    return ",".join(map(str, sorted(value))) if isinstance(value, frozenset) else str(value)


def behaviour_to_json(behaviour: Behaviour) -> dict[str, str]:
    """The texts that the settings take."""
    return {name: _to_text(getattr(behaviour, name)) for name in BEHAVIOUR_FIELDS}


def change_behaviour(behaviour: Behaviour, changes: Mapping[str, object]) -> Behaviour:
    """``behaviour`` with some of its texts replaced. Raises ``ValueError``, naming the field and the form wanted."""
    values: dict[str, Any] = {}
    for name, text in changes.items():
        kind = next(row.kind for row in rows(R2Variables) if row.field == name)
        try:
            values[name] = kind.parse(text if isinstance(text, str) else repr(text))
        except ValueError:
            raise ValueError(f"{name} cannot be {text!r}: expected {kind.expected}") from None
    return replace(behaviour, **values)


@dataclass(frozen=True)
class Upstream:
    url: str
    access_key: str
    secret: str
    region: str


@dataclass(frozen=True)
class R2Settings:
    """All settings of a stand-in. ``hosts`` are the host names whose subdomains name buckets. Where ``state`` is
    ``None``, nothing is saved."""

    bucket: str
    tokens: tuple[Token, ...]
    policy: Policy | None = None
    hosts: tuple[str, ...] = ("localhost",)
    state: Path | None = None
    save_seconds: float = 60.0
    durable: bool = False
    stall_seconds: float = 60.0
    upstream: Upstream | None = None
    behaviour: Behaviour = field(default_factory=Behaviour)


def _token(project: Project, environ: Mapping[str, str]) -> Token:
    """The token. Environment variables take precedence over the secrets file, as Fly's secrets do over fly.toml."""
    key, secret = (project.variable(known) for known in ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"))
    return Token(
        environ.get(key) or project.required("R2_ACCESS_KEY_ID"),
        environ.get(secret) or project.required("R2_SECRET_ACCESS_KEY"),
    )


def load_r2_settings(project: Project, environ: Mapping[str, str] = os.environ) -> R2Settings:
    """Read the table and the project's secrets. Raises ``ConfigError``, naming variable or file."""
    refuse_unknown(environ, names(HarnessSettings, R2Variables), "PARITY_R2_")
    given = R2Variables(**read(R2Variables, environ))
    tokens = [_token(project, environ)]
    admin_key, admin_secret = given.admin_access_key_id, given.admin_secret_access_key
    if bool(admin_key) != bool(admin_secret):
        raise ConfigError("PARITY_R2_ADMIN_ACCESS_KEY_ID", "an admin token has a key and a secret", "both or neither")
    if admin_key:
        tokens.append(Token(admin_key, admin_secret, admin=True))
    chosen: dict[str, Any] = {name: getattr(given, name) for name in BEHAVIOUR_FIELDS}
    hosts = {"localhost", "r2.localhost", project.settings.r2_host}
    return R2Settings(
        bucket=project.bucket,
        tokens=tuple(tokens),
        policy=_policy(project),
        hosts=tuple(sorted(hosts)),
        state=project.settings.state_dir / "r2",
        save_seconds=given.save_seconds,
        durable=given.durable == "always",
        stall_seconds=given.stall_seconds,
        upstream=_upstream(given),
        behaviour=Behaviour(**chosen),
    )


def _policy(project: Project) -> Policy | None:
    if not project.parity.r2.cors:
        return None
    return with_page_of_stack(load_policy(project.path(project.parity.r2.cors)), project.settings.frontend_url)


def _upstream(given: R2Variables) -> Upstream | None:
    if given.store == "moto":
        return None
    if not given.upstream_url:
        raise ConfigError("PARITY_R2_UPSTREAM_URL", "PARITY_R2_STORE=s3 needs it", "the URL of an S3 endpoint")
    return Upstream(
        given.upstream_url, given.upstream_access_key_id, given.upstream_secret_access_key, given.upstream_region
    )
