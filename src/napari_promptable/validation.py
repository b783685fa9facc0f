"""Checks by pydantic. A wrong value is reported as `PromptError` in one sentence."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter, ValidationError

from napari_promptable.errors import PromptError

Class = TypeVar("Class", bound=type)

NO_LIMIT = float("inf")  # None in JSON

Number = Annotated[float, Field(strict=True)]
Share = Annotated[Number, Field(ge=0, le=1)]
MaxArea = Annotated[
    Number,
    Field(ge=1),
    BeforeValidator(
        lambda v: NO_LIMIT if v is None else v, json_schema_input_type=float | None
    ),
    PlainSerializer(lambda v: None if v == NO_LIMIT else v),
]

# Allowed values by pydantic's type of error; pydantic's own texts are for programmers.
_ALLOWED = {
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "{le} or less",
    "list_type": "a list",
    "model_type": "names and values",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_short": "text of {min_length} or more characters",
    "string_type": "text",
    "too_long": "a list of {max_length}",
    "tuple_type": "a list",
}


@contextmanager
def refused_as_prompt_error() -> Iterator[None]:
    """Turn a pydantic error into a `PromptError`."""
    try:
        yield
    except ValidationError as error:
        raise PromptError(describe(error)) from error


def raises_prompt_errors(cls: Class) -> Class:
    """Make a pydantic dataclass raise `PromptError` when it refuses a value."""
    initialise = cls.__init__  # type: ignore[misc]

    @functools.wraps(initialise)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        with refused_as_prompt_error():
            initialise(self, *args, **kwargs)

    cls.__init__ = checked  # type: ignore[misc]
    return cls


def check_names(cls: type[Any], values: Any, name: str) -> dict[str, Any]:
    """Check that plain data hold no other names than the fields of a dataclass.

    Parameters
    ----------
    cls : type
        The dataclass.
    values : dict of str to anything
        The data, whose values are not checked.
    name : str
        Name of the data in messages, such as "propagation settings".

    Returns
    -------
    dict
        The data.

    Raises
    ------
    PromptError
        If the data are no dict or a name is unknown.
    """
    if not isinstance(values, Mapping):
        raise PromptError(f"{name} must be names and values, not {values!r}")
    known = [field.name for field in fields(cls)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise PromptError(
            f"{name} hold {', '.join(map(repr, unknown))}; known are {', '.join(known)}"
        )
    return dict(values)


class PlainSettings:
    """Base of the settings that are saved as plain data.

    Attributes
    ----------
    title : str
        Name of the settings in messages, such as "propagation settings".
    """

    title: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Make plain data for JSON. Infinity becomes None."""
        values: dict[str, Any] = TypeAdapter(type(self)).dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Undo `to_dict`. Missing values get their defaults.

        Raises
        ------
        PromptError
            If a name is unknown or a value is not allowed.
        """
        return cls(**check_names(cls, values, cls.title))


def describe(error: ValidationError) -> str:
    """Describe the first wrong value: its name, the value given, and the values allowed.

    Parameters
    ----------
    error : pydantic.ValidationError
        At least one problem.

    Returns
    -------
    str
        One sentence, such as "objects[0].id must be more than 0, not -3".
    """
    first = error.errors(include_url=False)[0]
    place = _format_place(first["loc"]) or "the value"
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] == "value_error":  # from a validator of ours, which says it all
        return first["msg"].removeprefix("Value error, ")
    known = _ALLOWED.get(first["type"])
    allowed = (
        first["msg"].removeprefix("Input should be ")
        if known is None
        else known.format(**first.get("ctx", {}))
    )
    return f"{place} must be {allowed}, not {_shorten(first['input'])}"


def _format_place(keys: tuple[int | str, ...]) -> str:
    """Write keys as one path, such as objects[0].planes."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).removeprefix(".")


def _shorten(value: object) -> str:
    """Show a value in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
