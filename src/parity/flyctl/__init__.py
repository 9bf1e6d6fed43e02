"""A double of flyctl for machines that have none: the commands of a promotion and of looking at an app.

Each command makes the calls that flyctl v0.4.87 was recorded with, in their order and with their waits and exit codes.
``secrets unset``, ``scale count``, ``config save`` and a ``release_command`` were not recorded: they follow flyctl's
sources (superfly/flyctl, internal/command). It shows that the stand-in's API answers these calls; only the real flyctl
shows that there are no others.
"""
