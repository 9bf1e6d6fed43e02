"""Finds which files of the repository a Dockerfile copies to which place, for ``[dev] mounts`` of parity.toml.

During `parity dev` a mount replaces a folder of the image, so it must not hide files that the image's build created. A
mount that may be unsafe is reported as a doubt with its reason, for the developer to decide.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Files that only the build of an image reads.
_FOR_THE_BUILD = re.compile(
    r"(requirements[\w.-]*\.(txt|in)|pyproject\.toml|setup\.(py|cfg)|(poetry|uv|pdm)\.lock|Pipfile(\.lock)?"
    r"|package(-lock)?\.json|yarn\.lock|README.*|LICEN[CS]E.*)$",
    re.I,
)
# Commands that build something from the sources, in the same folder or elsewhere.
_BUILDS = re.compile(r"\b(npm|yarn|pnpm|make|cargo|go)\s|\bpip3? install\b.*\s\.(\[|\s|$)|\bpython3? -m build\b")


@dataclass
class Copies:
    """``mounts`` maps paths of the repository to paths of the image; ``doubts`` are (path, path in image, reason)."""

    mounts: dict[str, str] = field(default_factory=dict)
    doubts: list[tuple[str, str, str]] = field(default_factory=list)

    def as_toml(self) -> list[str]:
        """The lines of ``[dev]`` in parity.toml. Doubts are comments."""
        shown = ", ".join(f"{json.dumps(source)} = {json.dumps(place)}" for source, place in self.mounts.items())
        return [
            "[dev] # `parity dev`: what the Dockerfile copies, served from the working tree",
            f"mounts = {{ {shown} }}" if shown else '# mounts = { "app" = "/srv/app" } # no safe mount was found',
            *(f'# in doubt: "{source}" = "{place}": {reason}' for source, place, reason in self.doubts),
            '# database = ["{python}", "-m", "app.dump", "{tenant}", "{file}"] # for `parity db`',
        ]


@dataclass
class _Copy:
    """One source of a COPY."""

    source: str
    place: str
    into: str  # the folder of the image that contains it, or whose contents it provides
    doubt: str = ""


@dataclass
class _Stage:
    workdir: str = "/"
    copies: list[_Copy] = field(default_factory=list)


def copies_of(root: Path, dockerfile: str, module: str, skipped: Collection[str] = ()) -> Copies:
    """The files of the repository ``root`` in the last stage of ``dockerfile``.

    ``module`` is the package in the app's command, or "". ``skipped`` are names of entries without source code.
    """
    text = (root / dockerfile).read_text("utf-8", "replace")
    stage = _last_stage(text, lambda path: (root / path).is_dir())
    found = Copies()
    for copy in stage.copies:
        if copy.doubt:
            found.doubts.append((copy.source, copy.place, copy.doubt))
        elif not (root / copy.source).exists():
            found.doubts.append((copy.source, copy.place, "the repository has no such path"))
        elif not (root / copy.source).is_dir():
            if not _FOR_THE_BUILD.match(posixpath.basename(copy.source)):
                found.mounts[copy.source] = copy.place
        elif copy.source == ".":
            package = next((name for name in (module, f"{module}.py") if module and (root / name).exists()), "")
            if package:
                found.mounts[package] = posixpath.join(copy.place, package)
            else:
                found.doubts.append((".", copy.place, "it would hide files that the image's build created there"))
        elif copy.place == stage.workdir or _shared(copy, stage.copies):
            # Mount its entries separately, because the folder of the image has other files too.
            names = (one.name for one in (root / copy.source).iterdir() if one.name[0] != ".")
            for name in sorted(set(names) - set(skipped)):
                found.mounts[f"{copy.source}/{name}"] = posixpath.join(copy.place, name)
        else:
            found.mounts[copy.source] = copy.place
    return found


def _shared(copy: _Copy, copies: list[_Copy]) -> bool:
    """Whether another COPY writes to the same folder of the image."""
    return any(other is not copy and other.into == copy.place for other in copies)


def _last_stage(text: str, is_folder: Callable[[str], bool]) -> _Stage:
    stage, stages = _Stage(), dict[str, _Stage]()
    for line in re.sub(r"\\\n", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if word.upper() == "FROM":
            base, *named = [part for part in rest.split() if not part.startswith("--")] or [""]
            before = stages.get(base, _Stage())
            stage = _Stage(before.workdir, list(before.copies))
            stages[named[-1] if named else ""] = stage
        elif word.upper() == "WORKDIR":
            stage.workdir = posixpath.normpath(posixpath.join(stage.workdir, rest))
        elif word.upper() in ("COPY", "ADD"):
            stage.copies += _copies(rest, stage.workdir, stages, is_folder)
        elif word.upper() == "RUN" and _BUILDS.search(rest):
            for copy in stage.copies:
                if is_folder(copy.source) and not copy.doubt:
                    copy.doubt = f"the image's build uses it to build something: {' '.join(rest.split())[:60]}"
    return stage


def _copies(rest: str, workdir: str, stages: dict[str, _Stage], is_folder: Callable[[str], bool]) -> Iterator[_Copy]:
    flags = {}
    while found := re.match(r"--([a-z]+)(?:=(\S*))?\s+", rest):
        flags[found[1]], rest = found[2] or "", rest[found.end() :]
    try:
        words = [str(word) for word in json.loads(rest)] if rest.startswith("[") else shlex.split(rest)
    except ValueError:
        return
    if len(words) < 2:
        return
    *sources, target = words
    place = posixpath.normpath(posixpath.join(workdir, target))
    if "from" in flags:
        if flags["from"] in stages:
            for source in sources:
                yield from _handed_on(stages[flags["from"]], source, place)
        return
    for word in sources:
        if re.match(r"<<|\w+://|git@", word):  # a here-document, a URL or a git repository
            continue
        source = posixpath.normpath(word.lstrip("/") or ".")
        if re.search(r"[*?\[$]", word) or "$" in target:
            yield _Copy(word, place, place, "its path has a pattern or a variable")
        elif is_folder(source):
            yield _Copy(source, place, place)
        elif target.endswith("/") or target in (".", "..") or len(sources) > 1:
            yield _Copy(source, posixpath.join(place, posixpath.basename(source)), place)
        else:
            yield _Copy(source, place, posixpath.dirname(place))


def _handed_on(stage: _Stage, source: str, place: str) -> Iterator[_Copy]:
    """For a COPY --from an earlier stage: the files of the repository in ``source``, and their paths in ``place``."""
    source = posixpath.normpath(posixpath.join(stage.workdir, source))
    for copy in stage.copies:
        below = posixpath.relpath(copy.place, source)
        above = posixpath.relpath(source, copy.place)
        if not below.startswith(".."):
            moved = posixpath.normpath(posixpath.join(place, below))
            into = posixpath.normpath(posixpath.join(place, posixpath.relpath(copy.into, source)))
            yield _Copy(copy.source, moved, into, copy.doubt)
        elif not above.startswith(".."):
            yield _Copy(posixpath.normpath(posixpath.join(copy.source, above)), place, place, copy.doubt)
