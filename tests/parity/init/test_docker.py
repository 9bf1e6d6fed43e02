"""How an image starts, and the same as a process."""

from pathlib import Path

import pytest

from parity.init.docker import filled_in, process_command, read_dockerfile

UVICORN = ["{python}", "-m", "uvicorn", "app.main:app"]


def started(tmp_path: Path, text: str) -> tuple[str, ...]:
    (tmp_path / "Dockerfile").write_text(text)
    found = read_dockerfile(tmp_path / "Dockerfile")
    return found.command if found else ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('FROM a\nCMD ["uvicorn", "app.main:app"]\n', ("uvicorn", "app.main:app")),
        ("FROM a\nCMD uvicorn app.main:app\n", ("uvicorn", "app.main:app")),
        ('FROM a\nCMD ["x"]\nFROM b\nENTRYPOINT ["tini", "--"]\nCMD ["python", \\\n "-m", "app"]\n',
         ("tini", "--", "python", "-m", "app")),
        ("FROM a\nRUN true\n", ()),
    ],
)  # fmt: skip
def test_the_last_stages_command_counts(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    assert started(tmp_path, text) == words


def test_a_dockerfile_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert read_dockerfile(tmp_path / "Dockerfile") is None


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("uvicorn app.main:app --host 0.0.0.0 --port 8080", [*UVICORN, "--host", "{host}", "--port", "{port}"]),
        ("uvicorn app.main:app --host=0.0.0.0 --port=8080", [*UVICORN, "--host={host}", "--port={port}"]),
        ("uvicorn app.main:app", [*UVICORN, "--port", "{port}", "--host", "{host}"]),
        ("poetry run uvicorn app.main:app --host 0.0.0.0 --port 8080",
         [*UVICORN, "--host", "{host}", "--port", "{port}"]),
        ("tini -- python -m app --listen 0.0.0.0:8080", ["{python}", "-m", "app", "--listen", "{host}:{port}"]),
        ("gunicorn -b 0.0.0.0:$PORT web:app", ["{python}", "-m", "gunicorn", "-b", "{host}:{port}", "web:app"]),
        ("/app/entrypoint.sh uvicorn app.main:app --port 8080",
         [*UVICORN, "--port", "{port}", "--host", "{host}"]),
        ("sh entry.sh python -m app --listen 0.0.0.0:8080", ["{python}", "-m", "app", "--listen", "{host}:{port}"]),
        ("python server.py", None),
        ("./start.sh", None),
        ("litestream replicate -exec uvicorn", None),
    ],
)  # fmt: skip
def test_a_servers_command_becomes_a_process_with_host_and_port(words: str, command: list[str] | None) -> None:
    assert process_command(tuple(words.split()), 8080) == command


def test_the_command_of_a_shell_is_looked_into() -> None:
    words = ("sh", "-c", "exec uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-8080}")
    assert process_command(words, 8080) == [*UVICORN, "--host", "{host}", "--port", "{port}"]
    assert process_command(("sh", "-c", "alembic upgrade head && uvicorn app.main:app"), 8080) is None


def test_variables_of_the_stages_below_are_the_images_too(tmp_path: Path) -> None:
    text = """FROM python AS base
ENV A=1 B="two words"
WORKDIR /srv
FROM node AS page
ENV C=3
FROM base
WORKDIR app
ENV D four
CMD uvicorn app.main:app
"""
    (tmp_path / "Dockerfile").write_text(text)
    found = read_dockerfile(tmp_path / "Dockerfile")
    assert found is not None
    assert (found.env, found.workdir) == ({"A": "1", "B": "two words", "D": "four"}, "/srv/app")


def test_a_commands_variables_are_filled_in_and_the_port_is_left() -> None:
    words = ("gunicorn", "-w", "${WEB_CONCURRENCY:-2}", "-b", "0.0.0.0:${PORT:-8080}", "$LEVEL", "${NONE}")
    assert filled_in(words, {"LEVEL": "info", "PORT": "80"}) == (
        "gunicorn", "-w", "2", "-b", "0.0.0.0:${PORT:-8080}", "info", "",
    )  # fmt: skip
