from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from parity.checks.kit.browser import Mapped, find_chromium, resolver_rules
from parity.checks.kit.media import read_probe
from parity.checks.kit.stage import entry_file, wrapped_entry
from parity.checks.model import ProductFault, Unobservable

API, FRONTEND = "https://api.fly.dev", "https://app.pages.dev"


def test_public_names_lead_to_where_the_stack_serves_them() -> None:
    places = [Mapped(API, "https://127.0.0.1:8443"), Mapped(FRONTEND, "https://127.0.0.1:5443")]
    assert resolver_rules(places) == "MAP api.fly.dev:443 127.0.0.1:8443, MAP app.pages.dev:443 127.0.0.1:5443"


def test_a_name_that_is_served_as_it_is_needs_no_rule() -> None:
    assert resolver_rules([Mapped(API, API), Mapped("https://localhost:9000", "https://localhost:9000")]) == ""


def test_a_name_below_localhost_is_mapped_to_where_the_resolver_has_it() -> None:
    rule = resolver_rules([Mapped("https://r2.localhost:9000", "https://r2.localhost:9000")])
    assert rule.startswith("MAP r2.localhost:9000 ")
    assert rule.endswith(":9000")


def test_the_named_chromium_goes_before_the_path() -> None:
    assert find_chromium({"PARITY_CHROMIUM": "/x/chrome", "PATH": ""}) == "/x/chrome"
    assert find_chromium({"PATH": "/nowhere"}) is None


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["{python}", "-m", "uvicorn", "app.main:app", "--port", "{port}"], "app/main.py"),
        (["uvicorn", "main:api", "--host", "127.0.0.1:80"], "main.py"),
    ],
)
def test_the_entry_file_is_read_from_the_start_command(command: list[str], file: str) -> None:
    assert entry_file(command) == file


def test_a_start_command_without_an_application_is_refused() -> None:
    with pytest.raises(Unobservable, match="names no package"):
        entry_file(["python", "server.py", "{port}"])


@pytest.mark.parametrize(
    "source",
    [
        "app = 'right'\n",
        "def __getattr__(name):\n    if name == 'app':\n        return 'right'\n    raise AttributeError(name)\n",
    ],
)
def test_the_wrapped_entry_serves_the_wrapped_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    package = tmp_path / "wrapped_sample"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "main.py").write_text(wrapped_entry(source, "wrapped_sample/main.py"))
    (package / "broken_variant.py").write_text("def wrap(app):\n    return ('broken', app)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    module = importlib.import_module("wrapped_sample.main")
    assert module.app == ("broken", "right")
    for name in [name for name in sys.modules if name.startswith("wrapped_sample")]:
        del sys.modules[name]


def test_a_probe_reads_duration_codecs_and_size() -> None:
    streams = [
        {"codec_type": "video", "codec_name": "h264", "width": 1280, "height": 720},
        {"codec_type": "audio", "codec_name": "aac"},
    ]
    probe = read_probe(json.dumps({"format": {"duration": "30.03"}, "streams": streams}), 7)
    assert (probe.duration_s, probe.video, probe.audio, probe.width, probe.size_bytes) == (
        30.03,
        "h264",
        "aac",
        1280,
        7,
    )


def test_a_file_without_a_video_stream_is_the_products_fault() -> None:
    with pytest.raises(ProductFault, match="no video stream"):
        read_probe('{"format": {"duration": "1"}, "streams": []}', 7)
