"""A package, so that its fixtures end with it: playwright keeps a loop running that async tests must not meet."""
