"""The workers of jobs: ffmpeg on this Machine, or functions on Modal."""
