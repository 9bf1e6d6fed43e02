"""A module beside the deployed file: it must reach the container."""


def label() -> str:
    return "from the helper"
