"""Everything that can go wrong with video work. Each message can be shown to the person who sent the video."""

from __future__ import annotations


class ReelError(Exception):
    """Base of all errors here."""


class MissingTool(ReelError):
    """ffmpeg or ffprobe is not installed."""


class UnusableVideo(ReelError):
    """The file itself is the trouble: trying again is no use."""


class NotAVideo(UnusableVideo):
    """No container that can be read, or one without a video stream."""


class TruncatedVideo(UnusableVideo):
    """A video whose end, or whose index, is missing."""


class FfmpegFailed(ReelError):
    """ffmpeg or ffprobe ended with an error; the last lines it wrote are in the message."""

    def __init__(self, program: str, returncode: int, tail: str) -> None:
        self.program = program
        self.returncode = returncode
        self.tail = tail
        super().__init__(f"{program} {_ending(returncode)}: {tail or 'it wrote no message'}")


class FfmpegTimedOut(ReelError):
    """ffmpeg or ffprobe was killed at its deadline."""

    def __init__(self, program: str, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        super().__init__(f"{program} did not finish within {deadline_s:g} s and was killed")


class BadResult(ReelError):
    """ffmpeg ended well, but what it wrote is not what was asked for."""


def _ending(returncode: int) -> str:
    if returncode == -9:
        return "was killed by signal 9 (usually the memory limit)"
    if returncode < 0:
        return f"was killed by signal {-returncode}"
    return f"failed with exit code {returncode}"
