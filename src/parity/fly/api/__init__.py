"""Fly's own API as far as flyctl needs it for this app: Machines REST, GraphQL, releases, logs, and a registry.

Requests and answers follow recordings of flyctl v0.4.87. A deploy through this API changes the stand-in's Machines.
Size, ports, checks and restarts of a Machine come from the stand-in's fly.toml and not from the request.
"""
