"""Mistakes of this app, made on purpose: wraps for `Wrap`. Copied into the app, so they import nothing of ours."""
