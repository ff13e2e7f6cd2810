"""The console script: starts without the [cli] extra, and turns our errors into one line and exit status 2."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; never a stack trace for bad input unless DISPATCHGYM_DEBUG is set."""
    try:
        import typer  # noqa: F401
        import yaml  # noqa: F401
    except ModuleNotFoundError as error:
        remedy = 'install it with pip install "dispatchgym[cli]"'
        print(f"dispatchgym: the command line needs the package {error.name}; {remedy}", file=sys.stderr)
        raise SystemExit(2) from None
    from dispatchgym.commands import app
    from dispatchgym.instances.base import DispatchGymError

    try:
        app()
    except DispatchGymError as error:
        if os.environ.get("DISPATCHGYM_DEBUG"):
            raise
        print(f"dispatchgym: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:  # a folder that cannot be written, a full disk
        if os.environ.get("DISPATCHGYM_DEBUG"):
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"dispatchgym: {where}{error.strerror or error}; choose a place that can be written", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
