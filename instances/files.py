"""Reading files with errors that name them, and writing so that an interruption leaves the previous version intact."""

from __future__ import annotations

import os
from pathlib import Path

from dispatchgym.instances.base import InstanceError


def read_bytes(path: str | os.PathLike[str], most: int, what: str) -> tuple[bytes, str]:
    """The content of a file of at most ``most`` bytes that should hold ``what``, and its printable name.

    Raises InstanceError naming the file.
    """
    source = str(path) if str(path).isprintable() else ascii(str(path))
    try:
        if not Path(path).is_file():
            raise InstanceError(f"{source}: no such file; check the path")
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InstanceError(f"{source}: cannot be read ({error.strerror}); check path and permissions") from None
    if len(data) > most:
        raise InstanceError(f"{source}: larger than {most} bytes; this cannot be {what}")
    return data, source


def write_text(path: Path, text: str) -> None:
    """Write beside the file, then rename over it."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
