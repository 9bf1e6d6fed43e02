"""Games: videos that the client uploads directly to the bucket. They are checked and then cut into clips."""
