"""Scouting notes and films. There is no database: everything is a JSON object in the bucket."""
