"""The ``parity`` command: each command is a call into another room."""
