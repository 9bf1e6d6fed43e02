"""What flyctl reads otherwise than it looks: each sentence has a file that earns it, and a sound file earns none."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from parity.checks.generic import fly_file

SOUND = """
app = "a"
kill_signal = "SIGINT"
kill_timeout = "30s"
[env]
  APP_ENV = "staging"
[http_service]
  internal_port = 8080
  auto_stop_machines = "suspend"
  [http_service.concurrency]
    soft_limit = 10
    hard_limit = 20
  [[http_service.checks]]
    path = "/health"
    interval = "15s"
    timeout = "5s"
[[vm]]
  memory = "1gb"
"""


def test_a_sound_file_is_not_accused() -> None:
    assert fly_file.misread(tomllib.loads(SOUND)) == []


def test_the_project_s_own_file_is_not_accused() -> None:
    text = (Path(__file__).parents[4] / "deploy/fly.staging.toml").read_text("utf-8")
    assert fly_file.misread(tomllib.loads(text)) == []


SERVICES = """
app = "a"
[processes]
  app = "uvicorn a:app"
[[services]]
  internal_port = 8080
  auto_stop_machines = true
  [[services.http_checks]]
    path = "/health"
    interval = 10000
    timeout = 2000
    grace_period = "5s"
"""


def test_a_file_with_a_group_called_app_and_services_of_the_older_form_is_not_accused() -> None:
    assert fly_file.misread(tomllib.loads(SERVICES)) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("interval = 10000", "interval = 10", "services.http_checks: interval = 10 means 10 milliseconds"),
        ("timeout = 2000", 'timeout = "20s"', "services.http_checks: timeout is longer than interval"),
        ("internal_port", 'processes = ["web"]\n  internal_port', "services.processes names web"),
        ('app = "uvicorn a:app"', 'app = "uvicorn a:app"\n  worker = "w"', "services names no group"),
        ("auto_stop_machines = true", 'auto_stop_machines = "suspend"\n[[vm]]\n  memory = "4gb"', "4096 MB"),
    ],
)
def test_each_mistake_is_named_in_services_of_the_older_form_too(old: str, new: str, said: str) -> None:
    assert old in SERVICES
    found = fly_file.misread(tomllib.loads(SERVICES.replace(old, new, 1)))
    assert [one for one in found if said in one], found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[env]", '[env]\n  kill_signal = "SIGTERM"', "kill_signal stands in [env]"),
        ('APP_ENV = "staging"', "APP_ENV = true", "env.APP_ENV is True"),
        ('timeout = "5s"', "timeout = 5", "means 5 milliseconds"),
        ('timeout = "5s"', 'timeout = "20s"', "timeout is longer than interval"),
        ("soft_limit = 10", "soft_limit = 30", "above hard_limit"),
        ("internal_port = 8080", 'internal_port = 8080\n  processes = ["web"]', "names web"),
        ('memory = "1gb"', 'memory = "4gb"', "suspends no Machine with 4096 MB"),
        ('memory = "1gb"', 'memory = "1gb"\n  memory_mb = 512', "one of them is ignored"),
        ('app = "a"', 'app = "a"\nswap_size_mb = 512', "no Machine with swap"),
        ('kill_timeout = "30s"', 'kill_timeout = "10m"', "longer than 300 s"),
        ("[[vm]]", '[deploy]\n  strategy = "immediate"\n[[vm]]', "waits for no health check"),
        ("[[vm]]", '[processes]\n  app = "a"\n  worker = "b"\n[[vm]]', "names no group"),
        ("[[vm]]", '[mounts]\n  source = "d"\n[deploy]\n  strategy = "canary"\n[[vm]]', "does not work with [mounts]"),
    ],
)
def test_each_mistake_is_named(old: str, new: str, said: str) -> None:
    assert old in SOUND
    found = fly_file.misread(tomllib.loads(SOUND.replace(old, new, 1)))
    assert [one for one in found if said in one], found


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("R2_SECRET_ACCESS_KEY", "x", True),
        ("DATABASE_URL", "postgres://me:secret@db/x", True),
        ("DATABASE_URL", "postgres://db/x", False),
        ("STRIPE_API_KEY", "sk_1", True),
        ("SENTRY_DSN", "", False),
        ("TOKENIZER", "bert", False),
        ("KEYS_PER_PAGE", "100", False),
    ],
)
def test_secrets_are_known_by_name_or_shape(name: str, value: str, is_secret: bool) -> None:
    assert fly_file.exposed({name: value}) == ([name] if is_secret else [])


def test_values_that_cannot_be_right_are_named() -> None:
    wrong = {"A": " x", "B": '"x"', "C": "changeme", "D": "<your key>"}
    assert [one.split()[0] for one in fly_file.unfit({**wrong, "E": "x", "F": "staging"})] == list(wrong)


def test_an_address_of_this_machine_is_local_and_a_list_of_origins_is_not() -> None:
    values = {"API": "http://localhost:8000", "ORIGINS": "http://localhost:5173,https://a.example", "B": "https://b"}
    assert fly_file.local(values) == ["API"]


def test_what_another_environment_lacks_is_named() -> None:
    other = tomllib.loads(SOUND.replace("[[vm]]", '[processes]\n  app = "a"\n[mounts]\n  source = "d"\n[[vm]]'))
    assert fly_file.differences(other, tomllib.loads(SOUND)) == ["no process group app", "no [mounts]"]
