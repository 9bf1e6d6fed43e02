"""Clips: spans of a game, extracted to files of their own on request."""
