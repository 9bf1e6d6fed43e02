"""Who does the work of a job: ffmpeg on this Machine, or Modal."""
