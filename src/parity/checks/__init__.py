"""The invariants: what each check observes, how it judges, and the broken variant that it must catch."""
