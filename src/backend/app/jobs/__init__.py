"""Work that outlives a request: rows that survive restarts, and the runner that carries them out."""
