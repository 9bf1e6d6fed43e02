"""Endpoints that belong to no other part."""
