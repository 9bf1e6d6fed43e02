"""``python -m parity.frontend serve``: the page over HTTP and TLS, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys

from parity.admin.app import serving
from parity.certs import ensure_certificates
from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.frontend.app import create_app


async def serve(project: Project) -> None:
    """Serve on both ports; returns after a signal. Raises ``OSError`` when a port is taken."""
    settings = project.settings
    certificates = ensure_certificates(settings.ca_dir, settings.trust_dir, project.certificate_names)
    app = create_app(project)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tls = {"ssl_certfile": str(certificates.chain), "ssl_keyfile": str(certificates.key)}
    # Without this limit, a browser's keep-alive connection would delay the stop for its whole idle time.
    options = {"timeout_graceful_shutdown": 2, "server_header": False}
    async with (
        serving(app, settings.bind, settings.frontend_port, **options),
        serving(app, settings.bind, settings.frontend_tls_port, **options, **tls),
    ):
        sys.stdout.write(f"the page: http on {settings.frontend_port}, https on {settings.frontend_tls_port}\n")
        sys.stdout.flush()
        await stop.wait()


def main(arguments: list[str]) -> int:
    """Exit code 0 after a signal, 2 for wrong arguments or configuration, 1 when a port is taken."""
    if arguments != ["serve"]:
        sys.stderr.write("usage: python -m parity.frontend serve\n")
        return 2
    try:
        asyncio.run(serve(Project.load()))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"the page cannot be served: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
