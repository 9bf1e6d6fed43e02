"""Stand-in for Modal: a control plane for the unmodified SDK, and a worker that runs deployed functions."""
