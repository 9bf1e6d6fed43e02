"""The errors of video work. Each message may be shown to the user who uploaded the video."""

from __future__ import annotations


class ReelError(Exception):
    """Base of all errors here."""


class MissingTool(ReelError):
    """ffmpeg or ffprobe is not installed."""


class UnusableVideo(ReelError):
    """The file cannot be used, so a retry would fail too."""


class NotAVideo(UnusableVideo):
    """The file has no readable container, or no video stream."""


class TruncatedVideo(UnusableVideo):
    """The end or the index of the video is missing."""


class FfmpegFailed(ReelError):
    """ffmpeg or ffprobe ended with an error; the last lines it wrote are in the message. `frames` is how many it had
    encoded, if it encodes any."""

    def __init__(self, program: str, returncode: int, tail: str, *, frames: int | None = None) -> None:
        self.program = program
        self.returncode = returncode
        self.tail = tail
        self.frames = frames
        super().__init__(f"{program} {_ending(returncode)}: {tail or 'it wrote no message'}")


class FfmpegTimedOut(ReelError):
    """ffmpeg or ffprobe was killed at its deadline."""

    def __init__(self, program: str, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        super().__init__(f"{program} did not finish within {deadline_s:g} s and was killed")


class BadResult(ReelError):
    """ffmpeg ended with code 0, but its output is not as requested."""


def _ending(returncode: int) -> str:
    if returncode == -9:
        return "was killed by signal 9 (usually the memory limit)"
    if returncode < 0:
        return f"was killed by signal {-returncode}"
    return f"failed with exit code {returncode}"
