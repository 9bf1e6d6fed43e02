"""What the Modal functions do, without Modal: the bucket, the jobs, the detector."""
