"""Profiles of a user: the registry in the object store, and their settings."""
