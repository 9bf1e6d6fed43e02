"""Background jobs. Their state is stored in rows, so that they survive restarts; a runner executes them."""
