"""A harness that tells before a deploy what Fly, R2, Modal and the browser will do to an app."""

__version__ = "0.1.0"
