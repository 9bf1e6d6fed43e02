"""Environment variables that make flyctl use the Fly stand-in."""

from __future__ import annotations

from urllib.parse import urlsplit


def flyctl_environment(admin_url: str) -> dict[str, str]:
    """What points flyctl at the Fly stand-in: its API and registry are served beside the admin API.

    The address of flyctl's traces is a closed port: without it, flyctl sends them to Fly at the end of each command
    (superfly/flyctl, internal/tracing).
    """
    names = ("FLY_API_BASE_URL", "FLY_FLAPS_BASE_URL", "FLY_UIEX_BASE_URL")
    quiet = ("FLY_NO_UPDATE_CHECK", "FLY_NO_INCIDENTS_CHECK")
    return {
        **dict.fromkeys(names, admin_url),
        "FLY_REGISTRY_HOST": urlsplit(admin_url).netloc,
        "FLY_API_TOKEN": "fo1_standin",
        "FLY_SEND_METRICS": "0",
        "FLY_TRACE_COLLECTOR_URL": "127.0.0.1:9",
        **dict.fromkeys(quiet, "1"),
    }
