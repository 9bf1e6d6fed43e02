"""The product's HTTP API: profiles, replication of their databases, games, clips, projects, exports and jobs."""
