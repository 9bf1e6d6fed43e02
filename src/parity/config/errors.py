"""The one error of everything a developer configures."""

from __future__ import annotations


class ConfigError(Exception):
    """A file or variable of the developer's is wrong.

    ``where`` names the file and key or the variable, ``problem`` what was found, ``expected`` the form that would be
    right, ``fix`` what to do next.
    """

    def __init__(self, where: str, problem: str, expected: str = "", fix: str = "") -> None:
        self.where, self.problem, self.expected, self.fix = where, problem, expected, fix
        lines = [f"{where}: {problem}"]
        if expected:
            lines.append(f"  expected: {expected}")
        if fix:
            lines.append(f"  to do:    {fix}")
        super().__init__("\n".join(lines))
