"""The base classes of JSON bodies: unknown fields are refused and types are not converted."""

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Takes 5.0 for an integer, as JSON Schema does."""


def name(max_length: int) -> Any:
    """The field of a name: spaces around it are dropped, so the document says that they alone are none."""
    return Field(min_length=1, max_length=max_length, json_schema_extra={"pattern": r"\S"})


class Body(BaseModel):
    """A request body: `"5"` is no number, an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class View(BaseModel):
    """A response body."""

    model_config = ConfigDict(extra="forbid")
