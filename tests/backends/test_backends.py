"""Three backends that the harness was not written for: correct they pass every generic check, and each of their
mistakes is named by a check under its right cause.

Each mistake is one that a real team made. All checks run once on each correct backend; a mistake is then judged by the
check that must name it, and by the controls that it rests on. All of it takes half an hour, and
``make backends`` does it; without ``BACKENDS=all`` only the quick checks and a few mistakes are tried.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.backends.repository import Repository
from tests.tools import TOOLS, Unavailable

ALL = os.environ.get("BACKENDS") == "all"
# Verdicts of a backend that is right: what it does not have is not declared, what this host cannot do is not shown.
RIGHT = {"passed", "not declared", "not shown"}
# The controls: a mistake that they name would be blamed on the wrong cause.
CONTROLS = "test_someone_new_can_come or test_writes_last"

pytestmark = [pytest.mark.timeout(1200)]

SIDELINE = {
    "acknowledged_early": ("test_durable", "no object below .* changed"),
    "conditions_forgotten": ("test_in_turn", "acknowledged writes are not shown"),
    "cookie_lax": ("test_cookies", "SameSite=lax"),
    "cors_inside": ("test_refusals_readable", "without Access-Control-Allow-Origin"),
    "dirty_at_stop": ("test_stop_after_failed_upload", "was acknowledged while R2 refused it"),
    "film_unchecked": ("test_upload_without_bytes", "is called finished"),
    "job_in_memory": ("test_job_over_a_restart", "answered 404|is still running"),
    "key_prefix_fixed": ("test_keys_under_the_environment", "outside of the environment"),
    "report_in_the_loop": ("test_machine_survives_a_job", "during the job the health check is not answered"),
    "socket_trusts_id": ("test_sockets_of_others", "opens the WebSocket of"),
    "error_as_new": ("test_each_fault", "as if the person had nothing"),
    "health_needs_bucket": ("test_health_in_outage", "while R2 is down the health check answers 503"),
    "http_behind_proxy": ("test_redirects_stay_https", "http://"),
    "loop_blocked": ("test_loop_is_free", "is not answered within its timeout"),
    "model_at_start": ("test_boots_in_time", "does not open its port"),
    "stale_read_modify_write": ("test_edits_at_once", "one edit undid the other"),
    "uploads_one_by_one": ("test_burst", "group concurrent writes into one upload"),
}
LEAGUE = {
    "bucket_needed_for_writes": ("test_down_and_kept_elsewhere", "no write works while R2 is down"),
    "commit_later": ("test_writes_last", "are not shown"),
    "database_errors_unhandled": ("test_service_away", "with postgres away a write fails as a crash does"),
    "database_without_timeout": ("test_service_away", "with postgres (away|silent) a write is not answered"),
    "errors_without_cors": ("test_refusals_readable", "without Access-Control-Allow-Origin"),
    "events_compressed": ("test_events_arrive", "are held back by the edge"),
    "health_needs_bucket": ("test_health_in_outage", "while R2 is down the health check answers"),
    "health_needs_database": ("test_health_without_service", "with postgres away the health check answers"),
    "http_behind_proxy": ("test_redirects_stay_https", "http://"),
    "film_early": ("test_upload", "is not in the bucket"),
    "film_refusal_swallowed": ("test_refused_upload", "the upload is called finished, but .* is not in the bucket"),
    "films_shared": ("test_shared_files", "upload of the same file failed, and its clean-up took it along"),
    "job_abandoned": ("test_job_over_a_restart", "is still running"),
    "lease_without_end": ("test_job_over_a_kill", "is marked as taken"),
    "key_prefix_fixed": ("test_keys_under_the_environment", "outside of the environment"),
    "pool_unchecked": ("test_connections_cut", "after idle connections were cut"),
    "read_modify_write": ("test_edits_at_once", "one edit undid the other"),
    "table_done_anyway": ("test_refused_output", "the job is called done, but .* was not stored"),
}
SCOUT = {
    "answered_before_stored": ("test_durable", "no object below .* changed"),
    "any_film_for_anyone": ("test_others_get_nothing", "what is another person's"),
    "anyone_deletes": ("test_others_change_nothing", "was deleted by another person"),
    "cors_only_on_success": ("test_refusals_readable", "without Access-Control-Allow-Origin"),
    "digest_checksum": ("test_job_done", "R2 refuses PutObject .*rule 11"),
    "digest_done_early": ("test_job_done", "is called done, and .* is not in the bucket"),
    "digest_on_http": ("test_job_done", "blocks it as mixed content"),
    "digest_stage_forgotten": ("test_keys_under_the_environment", "outside of the environment"),
    "error_as_new": ("test_each_fault", "as if the person had nothing"),
    "feed_unverified": ("test_forged_credential_on_sockets", "/v1/feed opens with a forged credential"),
    "first_page_only": ("test_many", "are not shown"),
    "health_needs_bucket": ("test_health_in_outage", "while R2 is down the health check answers 503"),
    "if_match_ignored": ("test_edits_at_once", "one edit undid the other"),
    "key_per_process": ("test_known_to_every_machine", "does not know who asks"),
    "limiter_outside_cors": ("test_limits_readable", "429 .*without Access-Control-Allow-Origin"),
    "loop_blocked": ("test_loop_is_free", "is not answered within its timeout"),
    "mail_given_up": ("test_outside_api_away", "after mail.example came back no new person can sign in"),
    "mail_without_timeout": ("test_outside_api_away", "mail.example is silent .* is answered nothing"),
    "notes_cached": ("test_not_cacheable", "may be kept by a browser or proxy"),
    "parts_unchecked": ("test_upload_without_bytes", "is called finished"),
    "signature_unchecked": ("test_forged_credential", "forged credential .* gets the person's texts"),
    "sigterm_ignored": ("test_ends_at_its_signal", "did not end at its kill_signal"),
    "size_unsigned": ("test_upload_is_bound", "was taken by the presigned URL"),
    "stage_forgotten": ("test_keys_under_the_environment", "outside of the environment"),
}
# Mistakes in files that no Machine has to run: the backend, the file that is read and the one that is written, a
# pattern and what replaces it, the check that must name it and its reason.
FILES: dict[str, tuple[str, str, str, str, str, str, str]] = {
    "requirement_missing": (
        "sideline", "requirements.txt", "requirements.txt", "boto3.*\n", "",
        "test_requirements_cover_imports", "boto3",
    ),
    "timeout_in_env": (
        "league", "fly.toml", "fly.toml", r'kill_timeout = 20\n((?s:.*)\[env\]\n)', r'\1  kill_timeout = "20s"\n',
        "test_fly_toml_means_it", r"kill_timeout stands in \[env\]",
    ),
    "worker_missing": (
        "league", "fly.toml", "fly.production.toml", "  worker = .*\n", "",
        "test_no_drift", "fly.production.toml has no process group worker",
    ),
    "local_address": (
        "scout", "deploy/fly.staging.toml", "deploy/fly.staging.toml", "\\[env\\]\n", '[env]\n  SITE = "http://localhost"\n',
        "test_values_fit", "SITE is an address on the developer's own machine",
    ),
    "token_in_the_open": (
        "scout", "deploy/fly.staging.toml", "deploy/fly.staging.toml", "\\[env\\]\n", '[env]\n  MAIL_TOKEN = "m41l"\n',
        "test_no_secret_in_fly_toml", "MAIL_TOKEN stands in",
    ),
}  # fmt: skip
# Of each backend a mistake that one answer shows, and a request that stores something.
LEAVES: dict[str, tuple[str, str, dict[str, str]]] = {
    "sideline": ("cors_inside", "/login", {"coach": "left"}),
    "league": ("errors_without_cors", "/signup", {"handle": "left"}),
    "scout": (
        "cors_only_on_success",
        "/v1/accounts",
        {"email": "left@club.example", "password": "a long password"},
    ),
}


@pytest.fixture(scope="module")
def sideline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """Cookies, one SQLite file a coach kept whole in the bucket, no Modal."""
    found = Repository.copied("sideline", tmp_path_factory.mktemp("backends"), Path(sys.executable))
    yield found
    found.down()


@pytest.fixture(scope="module")
def league(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """WSGI, Postgres, a worker, bearer tokens."""
    try:
        python, postgres = TOOLS["league"].find(), TOOLS["postgres"].find()
    except Unavailable as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("backends")
    found = Repository.copied("league", folder, python, str(postgres.parent))
    yield found
    found.down()


@pytest.fixture(scope="module")
def scout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """JSON objects with ETags and no database, a registration confirmed by mail, films in parts, polling, redirects."""
    found = Repository.copied("scout", tmp_path_factory.mktemp("backends"), Path(sys.executable))
    yield found
    found.down()


def wrong(repository: Repository) -> dict[str, str]:
    ended = repository.check(fast=not ALL)
    assert sum(one.verdict == "passed" for one in ended.values()) >= (40 if ALL else 15), ended
    return {name: f"{one.verdict}: {one.reason}" for name, one in ended.items() if one.verdict not in RIGHT}


def test_the_second_backend_passes_every_check(sideline: Repository) -> None:
    sideline.release()
    assert wrong(sideline) == {}


def test_the_third_backend_passes_every_check(league: Repository) -> None:
    league.release()
    assert wrong(league) == {}


def test_the_fourth_backend_passes_every_check(scout: Repository) -> None:
    scout.release()
    assert wrong(scout) == {}


@pytest.mark.parametrize("mistake", SIDELINE if ALL else ["acknowledged_early", "cookie_lax"])
def test_each_mistake_of_the_second_backend_is_named(sideline: Repository, mistake: str) -> None:
    _named(sideline, mistake, *SIDELINE[mistake])


@pytest.mark.parametrize("mistake", LEAGUE if ALL else ["commit_later"])
def test_each_mistake_of_the_third_backend_is_named(league: Repository, mistake: str) -> None:
    _named(league, mistake, *LEAGUE[mistake])


@pytest.mark.parametrize("mistake", SCOUT if ALL else ["key_per_process"])
def test_each_mistake_of_the_fourth_backend_is_named(scout: Repository, mistake: str) -> None:
    _named(scout, mistake, *SCOUT[mistake])


@pytest.mark.parametrize("mistake", FILES if ALL else ["worker_missing"])
def test_each_mistake_in_a_file_is_named(mistake: str, request: pytest.FixtureRequest) -> None:
    backend, source, changed, pattern, replacement, check, because = FILES[mistake]
    repository: Repository = request.getfixturevalue(backend)
    if not repository.runs:
        repository.release()
    file = repository.folder / changed
    before = file.read_text("utf-8") if file.exists() else None
    text, times = re.subn(pattern, replacement, (repository.folder / source).read_text("utf-8"))
    assert times == 1
    file.write_text(text, "utf-8")
    try:
        ended = repository.check(" or ".join(sorted({other for *_, other, _ in FILES.values()})))
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before, "utf-8")
    assert {name for name, one in ended.items() if one.verdict not in RIGHT} == {check}, ended
    assert re.search(because, ended[check].reason), ended[check].reason


def test_machines_that_differ_from_fly_toml_are_named(league: Repository) -> None:
    """As after a newer fly.toml came while the stack ran: another size, another worker and one more group."""
    if not league.runs:
        league.release()
    file = league.folder / "fly.toml"
    before = file.read_text("utf-8")
    changed = before.replace("512mb", "1gb").replace("league.worker", "league.tables")
    file.write_text(changed.replace("[processes]", '[processes]\n  mail = "python -m league.mail"'), "utf-8")
    try:
        ended = league.check("test_machines_as_in_fly_toml")["test_machines_as_in_fly_toml"]
    finally:
        file.write_text(before, "utf-8")
    assert ended.verdict == "failed", ended
    for part in (
        r"\(web\) has guest\.memory_mb 512, and fly\.toml says 1024",
        r'\(worker\) has init\.cmd\.2 "league\.worker", and fly\.toml says "league\.tables"',
        "no Machine runs the process group mail of fly.toml",
    ):
        assert re.search(part, ended.reason), ended.reason


@pytest.mark.parametrize("backend", LEAVES)
def test_a_release_leaves_nothing_of_the_mistake_before(backend: str, request: pytest.FixtureRequest) -> None:
    """Else the next mistake would be judged by what this one stored, or by its code."""
    repository: Repository = request.getfixturevalue(backend)
    mistake, path, body = LEAVES[backend]

    def readable() -> bool:
        return "access-control-allow-origin" in repository.ask("GET", "/no-such-path").headers

    repository.release(mistake)
    assert not readable()
    assert repository.ask("POST", path, body).is_success
    assert repository.kept() != {}
    repository.release()
    assert repository.kept() == {}
    assert readable()


def test_migrations_that_fail_on_an_empty_database_are_named_before_anything_starts(league: Repository) -> None:
    league.down()
    league.set_mistake("migration_needs_rows")
    said = league.parity("up", expect=(1,))
    assert re.search(r"services\.postgres\.migrate fails on an empty database with exit code 1", said), said[-2000:]
    assert "'NoneType' object is not subscriptable" in said


def test_a_stranger_gets_from_init_to_a_first_green_check(sideline: Repository, tmp_path: Path) -> None:
    """As docs/your-own-backend.md says: init, the to-dos, config check, up, the two controls, down."""
    sideline.down()
    folder = tmp_path / "theirs"
    shutil.copytree(sideline.folder, folder, ignore=shutil.ignore_patterns(".parity"))
    for name in ("parity.toml", "secrets.env", "contract.py"):
        (folder / name).unlink()
    theirs = replace(sideline, folder=folder)
    said = theirs.parity("init")
    assert "to do    parity.secrets.env: stand-in values for COOKIE_SECRET\n" in said
    secrets = folder / "parity.secrets.env"
    secrets.write_text(secrets.read_text().replace("COOKIE_SECRET=TODO", "COOKIE_SECRET=a-stand-in-value"))
    theirs.parity("config", "check")
    theirs.parity("up")
    theirs.runs = True
    try:
        ended = theirs.check(CONTROLS)
    finally:
        theirs.down()
    assert [one.verdict for one in ended.values()] == ["passed", "passed"], ended


def _named(repository: Repository, mistake: str, check: str, because: str) -> None:
    """The check fails for this reason, and no control blames the backend for something else."""
    repository.release(mistake)
    ended = repository.check(f"{CONTROLS} or {check}")
    found = ended[check]
    assert found.verdict == "failed", f"{check} does not name {mistake}: {found}"
    assert re.search(because, found.reason), f"{check} gives another cause for {mistake}: {found.reason}"
    others = {name: one for name, one in ended.items() if name != check and one.verdict in ("failed", "error")}
    assert others == {}, f"{mistake} is blamed on another cause: {others}"
