"""The schema of a profile's database, and helpers for rows."""
