"""A replacement of flyctl for computers that have none, with the commands that promotions and their tests need.

Each command makes the API calls that were recorded from flyctl v0.4.87, in the same order, with the same waits and exit
codes. ``secrets unset``, ``scale count``, ``config save`` and a ``release_command`` were not recorded; they follow
flyctl's sources (superfly/flyctl, internal/command). A test with this double shows that the stand-in answers these
calls. Only the real flyctl can show that it makes no other calls.
"""
