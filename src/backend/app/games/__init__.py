"""Sources: uploaded straight to the bucket, checked, then cut into clips."""
