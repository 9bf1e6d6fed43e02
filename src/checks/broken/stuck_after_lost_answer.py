"""Variant: after one PUT without an answer, the process never uploads again."""

from __future__ import annotations

import importlib
from typing import Any


def wrap(app: Any, _settings: object) -> Any:
    exceptions: Any = importlib.import_module("botocore.exceptions")
    session_type: Any = importlib.import_module("botocore.httpsession").URLLib3Session
    send = session_type.send
    stuck: list[bool] = []

    def giving_up(session: Any, request: Any) -> Any:
        if request.method == "PUT" and stuck:
            raise exceptions.ConnectionClosedError(endpoint_url=request.url)
        try:
            return send(session, request)
        except exceptions.HTTPClientError:
            stuck.append(True)
            raise

    session_type.send = giving_up
    return app
