"""Clips: spans of a game. On request, a clip is extracted to its own file."""
