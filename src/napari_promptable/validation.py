"""Wrong values, checked by pydantic and reported as `PromptError` in one sentence."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError

from napari_promptable.errors import PromptError

Class = TypeVar("Class", bound=type)

_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's error types


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


def describe(error: ValidationError) -> str:
    """Say which value is wrong first, what was given and what is allowed.

    Parameters
    ----------
    error : pydantic.ValidationError
        At least one problem.

    Returns
    -------
    str
        One sentence, such as "objects[0].id must be greater than 0, not -3".
    """
    first = error.errors(include_url=False)[0]
    place = _format_place(first["loc"])
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] in _UNKNOWN_KEY:
        return f"{place} is not a known name; check the spelling"
    message = first["msg"].removeprefix("Value error, ")
    message = message.replace("Input should", f"{place} must" if place else "it must", 1)
    if message == first["msg"] or first["type"] == "value_error":
        return f"{place}: {message}" if place else message
    return f"{message}, not {_shorten(first['input'])}"


def _format_place(keys: tuple[int | str, ...]) -> str:
    """Write keys as one path, such as objects[0].planes."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).removeprefix(".")


def _shorten(value: object) -> str:
    """Show a value in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
