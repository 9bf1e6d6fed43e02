"""Coaches keep a journal and upload films: one SQLite file a coach, kept whole in the bucket."""
