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


def test_memory_mb_goes_before_memory_and_both_before_the_size(tmp_path: Path) -> None:
    text = MINIMAL + '[[vm]]\nsize = "shared-cpu-2x"\nmemory = "1gb"\n'
    assert load(tmp_path, text).machine.memory_mb == 1024
    assert load(tmp_path, text + "memory_mb = 768\n").machine.memory_mb == 768


def test_a_gpu_is_named_loudly_and_has_flyctls_size(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL + '[[vm]]\ngpu_kind = "a10"\n')
    assert (config.machine.cpu_kind, config.machine.cpus, config.machine.memory_mb) == ("performance", 8, 16384)
    (listed,) = load(tmp_path, MINIMAL + '[[vm]]\nsize = "l40s"\n').not_reproduced
    assert (listed.key, listed.loud) == ("vm.size", True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[processes]\nweb = "serve"\n', "no process group is set, but .processes. has web"),
        ('[[restart]]\nprocesses = ["web"]\n', "no process group 'web'"),
        ('[[mounts]]\nsource = "a"\ndestination = "/a"\n[[mounts]]\nsource = "b"\ndestination = "/b"\n', "one volume"),
        ('[deploy]\nrelease_command = "sh -c \'x"\n', "cannot be split into words"),
        ('[checks.a]\ntype = "tcp"\nport = 1\ninterval = "1s"\n', "less than the 2 s"),
    ],
)
def test_what_a_deploy_refuses_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, MINIMAL + text)


def test_an_unknown_key_is_told_the_keys_of_the_file_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "moons = 1\n" + MINIMAL)
    assert "kill_signal" in caught.value.expected
    assert "not_reproduced" not in caught.value.expected


def test_a_section_that_only_flyctl_acts_on_is_listed_not_dropped_silently(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL + '[metrics]\nport = 9\npath = "/m"\n[build]\ndockerfile = "D"\n')
    assert [entry.key for entry in config.not_reproduced] == ["build", "metrics"]


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
        (MINIMAL + "[env]\nDEBUG = [1]\n", "env.DEBUG"),
        (MINIMAL + '[[vm]]\nsize = "shared-cpu-3x"\n', "vm.0"),
        (MINIMAL + '[deploy]\nstrategy = "bluegreen"\n', "deploy.strategy"),
        (MINIMAL + '[mounts]\nsource = "data"\ndestination = "relative"\n', "mounts.0.destination"),
        (MINIMAL + 'processes = ["web"]\n', "http_service.processes"),
        ('app = "a"\n[[services]]\ninternal_port = 1\nprotocol = "udp"\n', "services"),
        (MINIMAL + "[[vm]]\nmemory = '512 bananas'\n", "vm.0.memory_mb"),
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


@pytest.mark.parametrize(
    ("lines", "machine"),
    [
        ('size = "performance-2x"', ("performance", 2, 4096)),
        ('size = "shared-cpu-4x"', ("shared", 4, 1024)),
        ('size = "shared-cpu-4x"\nmemory = "2gb"', ("shared", 4, 2048)),
        ('size = "performance-1x"\ncpus = 4\nmemory_mb = 9000', ("performance", 4, 9000)),
        ('memory = "1gb"\nmemory_mb = 512', ("shared", 1, 512)),
    ],
)
@pytest.mark.parametrize("header", ["[[vm]]", "[vm]"])
def test_a_size_is_a_preset_below_the_other_keys(
    tmp_path: Path, header: str, lines: str, machine: tuple[str, int, int]
) -> None:
    found = load(tmp_path, f"{MINIMAL}{header}\n{lines}\n").machine
    assert (found.cpu_kind, found.cpus, found.memory_mb) == machine


def test_numbers_and_booleans_of_the_environment_become_text(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL + '[env]\nA = 1\nB = true\nC = 1.5\nD = 2.0\nE = "x"\n')
    assert config.env == {"A": "1", "B": "true", "C": "1.5", "D": "2", "E": "x"}


EVERY_KEY = """
app = "a"
primary_region = "lax"
swap_size_mb = 512
console_command = "/bin/sh"
machine_config = "containers.json"
container = "app"
host_dedication_id = "h"
[experimental]
cmd = ["serve"]
auto_rollback = true
enable_consul = true
lazy_load_images = true
use_zstd = true
[build]
dockerfile = "Dockerfile"
[deploy]
strategy = "canary"
max_unavailable = 0.5
wait_timeout = "2m"
release_command = "migrate now"
release_command_timeout = "9m"
seed_command = "seed"
[deploy.release_command_vm]
size = "performance-1x"
[http_service]
internal_port = 8080
force_https = true
[http_service.tls_options]
alpn = ["h2"]
[http_service.http_options]
compress = true
idle_timeout = 600
headers_read_timeout = 10
h2_backend = true
[[http_service.http_options.replay_cache]]
type = "cookie"
name = "sid"
ttl_seconds = 20
[[http_service.checks]]
path = "/h"
protocol = "https"
tls_skip_verify = true
tls_server_name = "a.example"
[[http_service.tcp_checks]]
timeout = "2s"
[[http_service.machine_checks]]
command = ["true"]
[[machine_checks]]
command = ["true"]
[[vm]]
gpu_kind = "l40s"
kernel_args = "quiet"
persist_rootfs = "always"
[[files]]
guest_path = "/etc/x"
raw_value = "x"
[[statics]]
guest_path = "/a"
url_prefix = "/b"
[metrics]
port = 9
path = "/m"
[checks.other]
type = "tcp"
port = 1
"""


def test_every_key_that_flyctl_knows_is_acted_on_or_listed(tmp_path: Path) -> None:
    config = load(tmp_path, EVERY_KEY)
    assert config.deploy.release_command == "migrate now"
    assert (config.deploy.strategy, config.deploy.release_command_timeout_s) == ("canary", 540)
    assert (config.service.checks[0].protocol, config.service.tcp_checks[0].timeout_s) == ("https", 2)
    assert config.experimental.cmd == ["serve"]
    assert config.deploy.release_command_vm is not None
    assert config.deploy.release_command_vm.cpu_kind == "performance"
    assert (config.machine.persist_rootfs, config.group_files[0].guest_path) == ("always", "/etc/x")
    assert [check.command for check in config.all_machine_checks] == [["true"], ["true"]]
    assert config.group_checks["other"].port == 1
    loud = [entry.key for entry in config.not_reproduced if entry.loud]
    assert loud == [
        "vm.persist_rootfs", "machine_config", "statics", "container", "vm.gpu_kind",
    ]  # fmt: skip
    quiet = {entry.key for entry in config.not_reproduced if not entry.loud}
    assert quiet >= {
        "deploy.seed_command",
        "vm.kernel_args",
        "http_service.tls_options",
        "swap_size_mb",
        "build",
        "metrics",
    }


def test_a_top_level_key_below_env_is_told_as_the_variable_that_it_becomes(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL + "[env]\nkill_timeout = 60\n")
    assert config.env == {"kill_timeout": "60"}
    assert [(entry.key, entry.loud) for entry in config.not_reproduced] == [("env.kill_timeout", True)]


def test_a_setting_that_asks_for_nothing_is_not_listed(tmp_path: Path) -> None:
    text = MINIMAL + '[http_service.http_options]\nh2_backend = false\n[[vm]]\npersist_rootfs = "never"\n'
    assert load(tmp_path, text).not_reproduced == []


GROUPS = """
app = "a"
[processes]
web = "serve --port 8080"
worker = "work"
[http_service]
processes = ["web"]
[[vm]]
memory = 512
[[vm]]
memory = 1024
processes = ["web"]
[[mounts]]
source = "data"
destination = "/data"
processes = ["worker"]
"""


def test_each_process_group_has_its_own_size_and_volumes(tmp_path: Path) -> None:
    config = load(tmp_path, GROUPS)
    assert (config.group, config.machine.memory_mb, config.volumes) == ("web", 1024, [])
    assert config.other_groups == ["worker"]
    worker = config.of_group("worker")
    assert (worker.group, worker.machine.memory_mb, [mount.source for mount in worker.volumes]) == (
        "worker",
        512,
        ["data"],
    )
    assert config.not_reproduced == []


SERVICES = """
app = "a"
[[services]]
internal_port = 9000
protocol = "tcp"
auto_stop_machines = true
[[services.ports]]
port = 80
handlers = ["http"]
force_https = true
[[services.ports]]
port = 443
handlers = ["tls", "http"]
[services.ports.http_options]
compress = false
[services.concurrency]
soft_limit = 7
[[services.http_checks]]
path = "/h"
[[services.tcp_checks]]
interval = "20s"
"""


def test_one_http_service_of_the_long_form_is_the_http_service(tmp_path: Path) -> None:
    service = load(tmp_path, SERVICES).service
    assert (service.internal_port, service.force_https, service.auto_stop_machines) == (9000, True, "stop")
    assert (service.concurrency.soft_limit, service.http_options.compress) == (7, False)
    assert (service.checks[0].path, service.tcp_checks[0].interval_s) == ("/h", 20)


BY_GROUP = """
app = "a"
[processes]
app = "serve"
worker = "work"
[http_service]
processes = ["app"]
[[files]]
guest_path = "/all"
raw_value = "eA=="
[[files]]
guest_path = "/worker"
secret_name = "KEY"
processes = ["worker"]
[checks.metrics]
type = "http"
port = 9
path = "/m"
[checks.queue]
type = "tcp"
port = 5
processes = ["worker"]
"""


def test_files_and_named_checks_belong_to_their_process_groups(tmp_path: Path) -> None:
    config = load(tmp_path, BY_GROUP)
    worker = config.of_group("worker")
    assert [file.guest_path for file in config.group_files] == ["/all"]
    assert [file.guest_path for file in worker.group_files] == ["/all", "/worker"]
    assert (list(config.group_checks), list(worker.group_checks)) == (["metrics"], ["queue"])


@pytest.mark.parametrize("source", ["", 'raw_value = "eA=="\nsecret_name = "KEY"'])
def test_a_file_has_exactly_one_source(tmp_path: Path, source: str) -> None:
    with pytest.raises(ConfigError, match="exactly one of local_path, secret_name and raw_value"):
        load(tmp_path, f'{MINIMAL}[[files]]\nguest_path = "/x"\n{source}\n')


MISPLACED = MINIMAL + '[env]\nA = "1"\n[http_service.concurrency]\nkill_signal = "SIGTERM"\nsoft = 3\n'


def test_a_top_level_key_inside_a_table_is_named_as_what_flyctl_drops(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="flyctl drops kill_signal here") as caught:
        load(tmp_path, MISPLACED)
    assert "before the first [table]" in caught.value.expected


def test_as_flyctl_reads_it_unknown_keys_are_dropped_and_told(tmp_path: Path) -> None:
    path = tmp_path / "fly.toml"
    path.write_text(MISPLACED)
    config = load_fly_config(path, as_flyctl=True)
    assert config.kill_signal == "SIGINT"
    assert config.dropped == ["http_service.concurrency.kill_signal", "http_service.concurrency.soft"]
