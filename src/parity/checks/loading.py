"""Loads and validates the app's contract: the class ``Contract`` in the file that ``[checks] contract`` names."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from parity.checks.variants import Mutant
from parity.checks.verdict import MODULE
from parity.config.errors import ConfigError
from parity.contract import KNOWN, REQUIRED, Elsewhere, FullContract, InBucket


def load_contract(path: Path) -> type[FullContract]:
    """The class ``Contract`` of the file. Raises ``ConfigError``, which lists every mistake in it."""
    if not path.is_file():
        raise ConfigError(str(path), "there is no such file", "the app's contract", "parity init writes a skeleton")
    importable(path.parent)
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the app's file may raise anything
        raise ConfigError(str(path), f"it cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, "Contract", None)
    if not inspect.isclass(found):
        raise ConfigError(str(path), "it has no class Contract", "class Contract: … (docs/checks.md)")
    if wrong := mistakes(found):
        raise ConfigError(f"{path}: Contract", "; ".join(wrong), "what parity.contract describes")
    contract: type[Any] = found
    return contract


def importable(folder: Path) -> None:
    """Add the folder to ``sys.path``, so that the contract and the app's own checks can import modules beside them."""
    if (found := str(folder.resolve())) not in sys.path:
        sys.path.insert(0, found)


def load_mutants(path: Path) -> Sequence[Mutant]:
    """``MUTANTS`` of the file. Raises ``UsageError`` where there are none."""
    found = runpy.run_path(str(path)).get("MUTANTS", ())
    if not found:
        raise pytest.UsageError(f"{path}: it has no MUTANTS. Define MUTANTS = [Mutant(…), …] in it")
    return tuple(found)


def mistakes(found: type) -> list[str]:
    """A description of each mistake in a contract.

    Unknown public names are mistakes, because a misspelled optional method would otherwise count as absent, and its
    checks would silently not run.
    """
    wrong = []
    public = {name for name in dir(found) if not name.startswith("_")} | set(getattr(found, "__annotations__", {}))
    for name in sorted(name for name in public if not name.startswith("_") and name not in KNOWN):
        close = difflib.get_close_matches(name, KNOWN, 1)
        wrong.append(f"{name} means nothing; " + (f"is it {close[0]}?" if close else "names of helpers begin with _"))
    wrong += [f"{name} is missing" for name in sorted(REQUIRED - {"api"} - public)]
    keeps = getattr(found, "keeps", None)
    if keeps is not None and not isinstance(keeps, InBucket | Elsewhere):
        wrong.append(f"keeps is {keeps!r}; expected InBucket(…) or Elsewhere()")
    methods = {name for name in KNOWN if inspect.isfunction(getattr(FullContract, name, None))}
    for name in sorted(methods & public):
        given = inspect.getattr_static(found, name)
        if not inspect.iscoroutinefunction(given):
            wrong.append(f"{name} must be an async method")
    return wrong
