"""R2's rules in front of an S3 store: what works here works on R2, what would break there breaks here."""
