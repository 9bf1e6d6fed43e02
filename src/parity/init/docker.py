"""What a Dockerfile says of how the app starts: the last stage's WORKDIR, CMD and ENTRYPOINT."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_SERVERS = ("uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "fastapi", "waitress-serve", "flask")
_HOST = re.compile(r"^(0\.0\.0\.0|::|\[::\])$")


@dataclass(frozen=True)
class Started:
    """``command`` as the Dockerfile has it. ``litestream``: the image replicates SQLite by it, behind the answers."""

    command: tuple[str, ...]
    litestream: bool = False


def read_dockerfile(path: Path) -> Started | None:
    """How the image starts; None where the file is absent or says nothing (its base image then does)."""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return None
    stage: dict[str, str] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.upper() == "FROM":
            stage = {}
        elif word.upper() in ("CMD", "ENTRYPOINT"):
            stage[word.upper()] = rest.strip()
    words = [*_words(stage.get("ENTRYPOINT", "")), *_words(stage.get("CMD", ""))]
    return Started(tuple(words), re.search(r"\blitestream\b", text) is not None) if words else None


def _words(text: str) -> list[str]:
    """Of the exec form (a JSON list) or the shell form."""
    if text.startswith("["):
        try:
            return [str(word) for word in json.loads(text)]
        except ValueError:
            return []
    try:
        return shlex.split(text)
    except ValueError:
        return []


def process_command(words: tuple[str, ...], port: int) -> list[str] | None:
    """The same for a process: ``{host}`` and ``{port}`` in place of fixed ones, the server by ``{python} -m``.

    None for a command that is not understood: a shell script, for one.
    """
    kept = [word for word in words if word not in ("exec", "tini", "--", "dumb-init", "/usr/bin/tini")]
    while kept and re.fullmatch(r"[A-Z_]+=\S*", kept[0]):
        kept.pop(0)
    if len(kept) == 3 and kept[:2] in (["sh", "-c"], ["/bin/sh", "-c"], ["bash", "-c"]):
        return process_command(tuple(shlex.split(kept[2])), port)
    if not kept or any(word in ("&&", "||", ";", "|", "&") for word in kept):
        return None
    program = Path(kept[0]).name
    if program in ("poetry", "uv", "pipenv", "pdm") and kept[1:2] == ["run"]:
        return process_command(tuple(kept[2:]), port)
    if program in _SERVERS:
        kept = ["{python}", "-m", program.replace("waitress-serve", "waitress"), *kept[1:]]
    elif re.fullmatch(r"python[0-9.]*", program):
        kept = ["{python}", *kept[1:]]
    else:
        return None
    filled = [_filled(word, port) for word in kept]
    if not any("{port}" in word for word in filled):
        if program not in ("uvicorn", "hypercorn", "fastapi"):
            return None
        filled += ["--port", "{port}"]
    if program in ("uvicorn", "fastapi") and not any("{host}" in word for word in filled):
        filled += ["--host", "{host}"]
    return filled


def _filled(word: str, port: int) -> str:
    if _HOST.match(word):
        return "{host}"
    if word in (str(port), "$PORT", "${PORT}", f"${{PORT:-{port}}}"):
        return "{port}"
    word = re.sub(rf"(0\.0\.0\.0|\[::\]):({port}|\$PORT|\$\{{PORT[^}}]*\}})$", "{host}:{port}", word)
    return re.sub(r"^(--?[a-z-]+=)(0\.0\.0\.0)$", r"\1{host}", re.sub(rf"^(--?[a-z-]+=){port}$", r"\1{port}", word))
