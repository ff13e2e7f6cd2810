"""Checks of a trainer's configuration: every refusal names the setting, its value and what it may be."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from dispatchgym.agents.checkpoint import MAX_SIZE
from dispatchgym.instances.base import DispatchGymError

MAX_COUNT = 2**30 - 1
SEPARATE = ("instance", "suite", "generator", "size")  # arguments of ``make`` that are no options of a family


def refuse(name: str, value: Any, allowed: str) -> NoReturn:
    """Raise DispatchGymError for one setting."""
    raise DispatchGymError(f"setting {name} is {value!r}; it must be {allowed}")


def check_integers(config: Any, names: str, low: int, high: int = MAX_COUNT) -> None:
    """Refuse those of the settings (separated by spaces) that are no integers in low..high."""
    for name in names.split():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            refuse(name, value, f"an integer in {low}..{high}")


def check_numbers(
    config: Any, names: str, low: float = 0.0, high: float = math.inf, above: bool = False, optional: bool = False
) -> None:
    """Refuse those of the settings that are no finite numbers in low..high; ``above``: ``low`` is not one of them."""
    for name in names.split():
        value = getattr(config, name)
        if optional and value is None:
            continue
        number = _is_number(value)
        if not number or not low <= value <= high or (above and value == low):
            wanted = f"a finite number {'above' if above else 'of at least'} {low:g}"
            wanted += f" and at most {high:g}" if math.isfinite(high) else ""
            refuse(name, value, wanted + (", or none" if optional else ""))


def check_names(config: Any, names: str) -> None:
    """Refuse those of the settings that are no tuples of one or more names."""
    for name in names.split():
        value = getattr(config, name)
        if not isinstance(value, tuple) or not value or not all(isinstance(v, str) and v for v in value):
            refuse(name, value, "a list of one or more names")


def check_name(config: Any, name: str, optional: bool = False) -> None:
    """Refuse a setting that is no name."""
    value = getattr(config, name)
    if not (optional and value is None) and not (isinstance(value, str) and value):
        refuse(name, value, "a name" + (" or none" if optional else ""))


def check_weights(config: Any) -> None:
    """Refuse ``weights`` that are not one number of at least 0 for each of ``generators``, or all 0."""
    value, count = config.weights, len(config.generators)
    right = isinstance(value, tuple) and len(value) == count and all(_is_number(w) and w >= 0 for w in value)
    if not right or not 0 < sum(value) < math.inf:
        refuse("weights", value, f"{count} numbers of at least 0, not all 0: one for each of generators")


def check_common(config: Any) -> None:
    """The settings that all trainers have."""
    check_name(config, "env")
    options = config.options
    if not isinstance(options, dict) or not all(isinstance(k, str) and k not in SEPARATE for k in options):
        refuse("options", options, f"a table of the environment's options, without {', '.join(SEPARATE)}")
    check_names(config, "validation")
    if len(set(config.validation)) < len(config.validation):
        refuse("validation", config.validation, "a list of different names")
    check_integers(config, "validation_count evaluate_every save_every", 1)
    check_integers(config, "threads", 1, 1024)
    check_integers(config, "seed", 0, 2**31 - 1)
    check_integers(config, "width layers hidden heads", 1, MAX_SIZE)
    if config.hidden % config.heads:
        refuse("heads", config.heads, f"a divisor of hidden = {config.hidden}")
    check_numbers(config, "learning_rate", above=True)
    check_numbers(config, "final_share", high=1.0)
    check_name(config, "initial", optional=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
