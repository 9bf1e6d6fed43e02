"""Mistakes to deploy on purpose: each module's ``wrap(app)`` makes an ASGI application break one invariant.

A module here is copied into a throw-away release of the product, so it imports nothing of the harness.
"""
