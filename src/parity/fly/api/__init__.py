"""Fly's own API as far as flyctl needs it for this app: Machines REST, GraphQL, releases, logs, and a registry.

Every shape follows what flyctl v0.4.87 was seen to ask for and to accept. It deploys to the stand-in's Machines; what
of a Machine's configuration the stand-in takes from fly.toml (size, ports, checks, restarts) is not taken from here.
"""
