"""Reading JSON so that every error names the file and the element."""

from __future__ import annotations

import json
import os
from typing import Any, NoReturn

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.files import read_bytes

MAX_BYTES = 64 * 2**20
_REQUIRED: Any = object()
_KINDS: dict[type, str] = {int: "an integer", bool: "true or false", str: "a text", list: "a list", dict: "an object"}


class JsonObject:
    """A JSON object whose members are taken one by one; errors name it by ``where``."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise InstanceError(f"{where}: {shown(value)} is not an object; write {{...}}")
        self.left, self.where = dict(value), where

    def take(self, name: str, *kinds: type, default: Any = _REQUIRED) -> Any:
        """A member of one of these kinds; without a default it must be there."""
        value = self.left.pop(name, default)
        if value is _REQUIRED:
            raise InstanceError(f"{self.where}: {name!r} is missing; add it")
        if type(value) not in kinds and value is not default:
            wanted = " or ".join(_KINDS[kind] for kind in kinds)
            raise InstanceError(f"{self.where}: {name!r} is {shown(value)}; give {wanted}")
        return value

    def end(self) -> None:
        """Raise InstanceError if a member is left."""
        for name in self.left:
            raise InstanceError(f"{self.where}: {shown(name)} means nothing here; remove it or correct its name")


def shown(value: Any) -> str:
    """A value in an error, cut to 40 characters."""
    text = ascii(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise InstanceError(
            f"{shown(next(n for n in names if names.count(n) > 1))} is given twice in one object; rename one"
        )
    return made


def _no_constant(name: str) -> NoReturn:
    raise InstanceError(f"{name} is no number of JSON; give an integer")


def read(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """The content of a JSON file and its printable name. Raises InstanceError naming file, line and column."""
    data, source = read_bytes(path, MAX_BYTES, "a chip or a stream")
    try:
        text = data.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant), source
    except UnicodeDecodeError as error:
        byte = f"byte {data[error.start]:#04x} at {error.start}"
        raise InstanceError(f"{source}: {byte} is not UTF-8; save the file as UTF-8 text") from None
    except json.JSONDecodeError as error:
        place = f"{source}, line {error.lineno}, column {error.colno}"
        raise InstanceError(
            f"{place}: {error.msg[:1].lower()}{error.msg[1:]}; give a chip or a stream as JSON"
        ) from None
    except (InstanceError, RecursionError, ValueError) as error:  # ValueError: an integer of thousands of digits
        said = str(error) if isinstance(error, InstanceError) else "it is nested or its numbers are long beyond measure"
        raise InstanceError(f"{source}: {said}") from None
