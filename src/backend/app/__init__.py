"""The product's HTTP API: profiles, sync of their databases, media, jobs."""
