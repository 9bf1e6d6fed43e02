"""The SDK's operations, through real containers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import modal
import modal.exception
import pytest

Lookup = Callable[[str], Any]


def test_remote_runs_the_deployed_function_in_another_process(function: Lookup) -> None:
    got = function("surroundings").remote()
    assert got["pid"] != os.getpid()
    assert got["local"] is False


def test_a_container_has_its_secrets_its_helper_modules_and_no_token(function: Lookup) -> None:
    got = function("surroundings").remote()
    assert (got["R2_BUCKET"], got["OWN"], got["label"]) == ("reel-ballers-users", "k123", "from the helper")
    assert got["MODAL_TOKEN_SECRET"] is None
