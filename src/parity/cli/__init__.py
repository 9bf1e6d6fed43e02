"""The ``parity`` command. Its modules parse arguments and print; the work is done by the other packages."""
