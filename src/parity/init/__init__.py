"""``parity init``: look at a repository, and write what the harness needs to know of it beside its fly.toml."""
