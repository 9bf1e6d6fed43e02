"""How long a client of the admin API waits, in seconds.

A module without imports, because the start of a `parity` command reads it.
"""

from __future__ import annotations

from typing import Final

ANSWER_S: Final = 120.0
"""For an answer. A stop of a Machine takes up to fly.toml's kill_timeout; a snapshot, a release or a deploy seconds."""
CONNECT_S: Final = 30.0
"""For a connection. A stand-in that does not run refuses it at once; on a busy computer one that runs may take seconds
to accept it."""
