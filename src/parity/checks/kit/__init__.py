"""What checks observe with: HTTP, the admin API, the bucket, a browser, video files, releases, evidence."""
