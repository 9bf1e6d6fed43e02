from pathlib import Path

import pytest

from parity.config.errors import ConfigError
from parity.config.fly_toml import FlyConfig, load_fly_config


def load(tmp_path: Path, text: str) -> FlyConfig:
    path = tmp_path / "fly.toml"
    path.write_text(text)
    return load_fly_config(path)


MINIMAL = 'app = "a"\n[http_service]\n'


def test_defaults_are_flyctls(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    service = config.service
    assert (service.internal_port, service.force_https, service.auto_stop_machines) == (8080, False, "off")
    assert (service.auto_start_machines, service.min_machines_running) == (True, 0)
    assert (service.concurrency.type, service.concurrency.soft_limit) == ("connections", 20)
    assert service.concurrency.hard_limit is None
    assert (config.kill_signal, config.kill_timeout_s) == ("SIGINT", 5)
    assert (config.restart_policy.policy, config.restart_policy.max_retries) == ("on-failure", 10)


def test_autostop_booleans_mean_stop_and_off(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL + "auto_stop_machines = true").service.auto_stop_machines == "stop"
    assert load(tmp_path, MINIMAL + "auto_stop_machines = false").service.auto_stop_machines == "off"
    assert load(tmp_path, MINIMAL + 'auto_stop_machines = "suspend"').service.auto_stop_machines == "suspend"


def test_bare_numbers_of_checks_are_milliseconds_and_durations_are_clamped(tmp_path: Path) -> None:
    text = MINIMAL + '[[http_service.checks]]\npath = "/h"\ninterval = 15000\ntimeout = "100ms"\ngrace_period = "5m"\n'
    check = load(tmp_path, text).service.checks[0]
    assert (check.interval_s, check.timeout_s, check.grace_period_s) == (15, 1, 60)


@pytest.mark.parametrize(("given", "mebibytes"), [("512", 512), ('"512mb"', 512), ('"1gb"', 1024)])
def test_memory_is_read_in_each_spelling(tmp_path: Path, given: str, mebibytes: int) -> None:
    assert load(tmp_path, f"{MINIMAL}[[vm]]\nmemory = {given}\n").machine.memory_mb == mebibytes
    assert load(tmp_path, f"{MINIMAL}[[vm]]\nmemory_mb = {given}\n").machine.memory_mb == mebibytes


def test_a_section_that_only_flyctl_acts_on_is_listed_not_dropped_silently(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL + '[metrics]\nport = 9\npath = "/m"\n[build]\ndockerfile = "D"\n')
    assert config.not_reproduced == ["build", "metrics"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (MINIMAL + "intrenal_port = 1", "http_service.intrenal_port"),
        (MINIMAL + "internal_port = 70000", "http_service.internal_port"),
        (MINIMAL + 'auto_stop_machines = "sleep"', "http_service.auto_stop_machines"),
        ("[http_service]\n", "app"),
        ('app = "a"\n', "http_service"),
        ('app = "a"\nkill_timeout = "301s"\n[http_service]\n', "kill_timeout"),
        ('app = "a"\nkill_signal = "TERM"\n[http_service]\n', "kill_signal"),
        (MINIMAL + '[env]\nFLY_REGION = "lax"\n', "env"),
        (MINIMAL + "[env]\nDEBUG = false\n", "env.DEBUG"),
        (MINIMAL + "[[vm]]\nmemory = '512 bananas'\n", "vm.0.memory"),
        (MINIMAL + "[[http_service.checks]]\npath = 'h'\n", "http_service.checks.0.path"),
    ],
)
def test_a_wrong_file_is_refused_with_its_path_and_key(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.where.startswith(f"{tmp_path / 'fly.toml'}: {where}")


def test_an_unknown_key_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, MINIMAL + "intrenal_port = 1")
    assert "internal_port" in caught.value.expected


def test_a_missing_and_a_broken_file_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_fly_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path, "app = ")
