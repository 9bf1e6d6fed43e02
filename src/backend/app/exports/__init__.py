"""Exports: a project rendered to a file."""
