"""What a Dockerfile copies becomes ``[dev] mounts``; what a mount could break is left to a person, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from parity.config.parity_toml import load_parity_config
from parity.init.find import look

ROOT = Path(__file__).parents[3]
START = 'CMD ["uvicorn", "shop.main:app"]\n'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "fly.toml").write_text('app = "x"\n[http_service]\n')
    for name in ("shop/main.py", "static/a.css", "page/index.js", "alembic.ini", "requirements.txt", "uv.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def found(repository: Path, dockerfile: str) -> tuple[dict[str, str], list[str]]:
    """The mounts, and what is in doubt."""
    (repository / "Dockerfile").write_text(dockerfile)
    copies = look(repository).copies
    return copies.mounts, [f"{source} at {place}: {reason}" for source, place, reason in copies.doubts]


def test_our_own_dockerfile_gives_our_own_mounts() -> None:
    copies = look(ROOT).copies
    assert (copies.mounts, copies.doubts) == (load_parity_config(ROOT / "parity.toml").dev.mounts, [])


@pytest.mark.parametrize(
    ("name", "mounts"),
    [
        ("league", {"league": "/srv/league"}),
        ("scout", {"api/scout": "/code/scout"}),  # `COPY api/ ./`: beside it lies what the image alone has
        ("sideline", {"sideline": "/srv/sideline"}),
    ],
)
def test_a_package_lies_where_the_dockerfile_puts_it(name: str, mounts: dict[str, str]) -> None:
    copies = look(ROOT / "tests/backends" / name).copies
    assert (copies.mounts, copies.doubts) == (mounts, [])


def test_of_the_whole_repository_only_the_apps_package_is_mounted(repository: Path) -> None:
    """The image's own .venv lies beside it."""
    text = f"FROM a\nWORKDIR /app\nCOPY pyproject.toml uv.lock ./\nRUN uv sync\nCOPY . .\n{START}"
    assert found(repository, text)[0] == {"shop": "/app/shop"}


def test_the_whole_repository_is_in_doubt_where_no_package_is_known(repository: Path) -> None:
    mounts, doubts = found(repository, 'FROM a\nCOPY . /app\nCMD ["./start.sh"]\n')
    assert (mounts, doubts) == ({}, [". at /app: it would hide files that the image's build created there"])


def test_files_lie_in_folders_or_under_names_of_their_own_and_those_for_the_build_are_left_out(
    repository: Path,
) -> None:
    text = f"FROM a\nWORKDIR /srv\nCOPY alembic.ini requirements.txt ./\nCOPY shop/main.py ./run.py\n{START}"
    assert found(repository, text) == ({"alembic.ini": "/srv/alembic.ini", "shop/main.py": "/srv/run.py"}, [])


def test_what_an_earlier_stage_copied_and_handed_on_is_found(repository: Path) -> None:
    text = f"""FROM a AS code
WORKDIR /code
COPY --chown=1:1 ["shop", "shop"]
COPY static /code/assets/static
FROM b
COPY --link --from=code /code/shop /app/shop
COPY --from=code /code/assets /www
COPY --from=ghcr.io/x/y /bin/y /bin/y
{START}"""
    assert found(repository, text) == ({"shop": "/app/shop", "static": "/www/static"}, [])


def test_what_the_build_changes_and_what_a_pattern_names_is_in_doubt(repository: Path) -> None:
    text = f"FROM a\nCOPY page /page\nRUN cd /page && npm run build\nCOPY stat* /static/\nCOPY gone /gone\n{START}"
    mounts, doubts = found(repository, text)
    assert mounts == {}
    assert doubts == [
        "page at /page: the image's build uses it to build something: cd /page && npm run build",
        "stat* at /static: its path has a pattern or a variable",
        "gone at /gone: the repository has no such path",
    ]
