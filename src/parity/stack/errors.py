"""The errors of a stack. Each says what was found and what to do."""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot be started, stopped or asked. ``problem`` says what was found, ``fix`` what to do next."""

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem, self.fix = problem, fix
        super().__init__(f"{problem}\n  to do:    {fix}" if fix else problem)


class RequirementMissing(StackError):
    """A program that the process stack needs is not on this machine."""


class PortTaken(StackError):
    """Something else listens on a port of the stack."""


class PartFailed(StackError):
    """A part ended or did not become healthy in time; everything that had been started was stopped again."""


class NotRunning(StackError):
    """The command needs a running stack."""


class AdminRefused(StackError):
    """The admin API answered with an error, or not at all."""
