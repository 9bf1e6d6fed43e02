"""One SQLite database per profile, kept in the object store."""
