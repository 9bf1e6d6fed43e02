"""The S3 operations that R2 has, on top of a store."""
