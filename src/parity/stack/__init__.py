"""The stack of a checkout: its parts, how they start and stop, under which addresses they are reached."""
