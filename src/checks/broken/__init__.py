"""Broken variants of this app, for ``Wrap``. They are copied into the app, so they must not import the harness."""
