"""Debuggers: what a debugged process needs to listen, and the ports at which people attach."""
