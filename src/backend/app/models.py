"""The base of every JSON body: unknown fields are refused, types are not guessed."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """A request body: `"5"` is no number, an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class View(BaseModel):
    """A response body."""

    model_config = ConfigDict(extra="forbid")
