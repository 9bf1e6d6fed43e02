"""``python -m sideline HOST PORT``."""

import sys

import uvicorn

from sideline.settings import MISTAKE

uvicorn.run(
    "sideline.main:app",
    host=sys.argv[1],
    port=int(sys.argv[2]),
    # Fly's proxy ends TLS: what it says of the scheme is believed.
    proxy_headers=MISTAKE != "http_behind_proxy",
    forwarded_allow_ips="*",
    timeout_graceful_shutdown=15,
)
