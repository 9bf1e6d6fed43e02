"""Clubs keep their teams in Postgres and their matches' films in the bucket; a worker writes tables of results."""
