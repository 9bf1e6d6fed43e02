"""Debugging: the files that a debugged process needs to listen, and the ports that a debugger connects to."""
