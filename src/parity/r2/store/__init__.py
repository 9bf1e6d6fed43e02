"""Stores for the objects: moto's models in this process, or any S3 endpoint."""
