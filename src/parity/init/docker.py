"""What a Dockerfile says of how the app starts: the last stage's WORKDIR, CMD and ENTRYPOINT."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SERVERS = ("uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "fastapi", "waitress-serve", "flask")
_PROGRAM = re.compile(rf"python[0-9.]*|{'|'.join(_SERVERS)}|celery|arq|rq|dramatiq|huey_consumer(\.py)?")
_HOST = re.compile(r"^(0\.0\.0\.0|::|\[::\])$")


@dataclass(frozen=True)
class Started:
    """``command`` and ``env`` as the Dockerfile has them, ``workdir`` as well. ``litestream``: the image replicates
    SQLite by it, behind the answers."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    litestream: bool = False


def read_dockerfile(path: Path) -> Started | None:
    """How the image starts; None where the file is absent or says nothing (its base image then does)."""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return None
    stage, env, stages = {"WORKDIR": "/"}, dict[str, str](), dict[str, tuple[dict[str, str], dict[str, str]]]()
    for line in re.sub(r"\\\n", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if word.upper() == "FROM":  # [--platform=…] IMAGE [AS NAME]; what an earlier stage set is inherited
            base, *named = [part for part in rest.split() if not part.startswith("--")] or [""]
            before, variables = stages.get(base, ({"WORKDIR": "/"}, {}))
            stage, env = dict(before), dict(variables)
            stages[named[-1] if named else ""] = stage, env
        elif word.upper() in ("CMD", "ENTRYPOINT"):
            stage[word.upper()] = rest
        elif word.upper() == "WORKDIR":
            stage["WORKDIR"] = posixpath.join(stage["WORKDIR"], rest)
        elif word.upper() == "ENV":
            env |= _variables(rest)
    words = [*_words(stage.get("ENTRYPOINT", "")), *_words(stage.get("CMD", ""))]
    if not words:
        return None
    return Started(tuple(words), env, stage["WORKDIR"], re.search(r"\blitestream\b", text) is not None)


def _variables(text: str) -> dict[str, str]:
    """Of ``ENV A=1 B="two words"``, or of the older ``ENV A one``."""
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    if words and "=" not in words[0]:
        return {words[0]: " ".join(words[1:])}
    return {name: value for name, _, value in (word.partition("=") for word in words)}


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


def filled_in(words: tuple[str, ...], env: Mapping[str, str]) -> tuple[str, ...]:
    """``words`` with ``$NAME`` and ``${NAME:-default}`` as a shell fills them in; PORT stays for the port."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[3]
        return found[0] if name == "PORT" else env.get(name) or found[2] or ""

    return tuple(re.sub(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)", value, word) for word in words)


def without_entrypoint(words: Sequence[str]) -> list[str]:
    """The words from the program on: without ``exec``, an init such as tini, variables in front, or a script of the
    image that ends with ``exec "$@"``, where the server or an interpreter stands after it."""
    kept = [word for word in words if word not in ("exec", "tini", "--", "dumb-init", "/usr/bin/tini")]
    while kept and re.fullmatch(r"[A-Z_]+=\S*", kept[0]):
        kept.pop(0)
    rest = kept[1:] if kept and Path(kept[0]).name in ("sh", "bash") else kept
    if rest and rest[0].endswith(".sh") and len(rest) > 1 and _PROGRAM.fullmatch(Path(rest[1]).name):
        return rest[1:]
    return kept


def process_command(words: tuple[str, ...], port: int) -> list[str] | None:
    """The same for a process: ``{host}`` and ``{port}`` in place of fixed ones, the server by ``{python} -m``.

    None for a command that is not understood: a shell script, for one.
    """
    kept = without_entrypoint(words)
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


def module_of(command: list[str]) -> str:
    """The module that a process's command names; empty where it names none."""
    module = next((word.partition(":")[0] for word in command if re.fullmatch(r"[\w.]+:\w+(\(\))?", word)), "")
    if not module and "-m" in command:
        module = command[command.index("-m") + 1]
    return module
