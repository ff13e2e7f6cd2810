"""What makes steps, buffers and uses a program; every refusal names the instruction or buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dispatchgym.instances.base import InstanceError

if TYPE_CHECKING:
    from dispatchgym.instances.memory.program import Buffer, Program, Step


def check_program(program: Program) -> None:
    """Raise InstanceError naming the instruction or buffer, unless steps, buffers and uses fit together."""
    steps, buffers = program.steps, program.buffers
    if not steps:
        raise InstanceError(f"program {program.name!r} has no steps; give at least one instruction")
    for t, step in enumerate(steps):
        if not (_whole(step.flops) and _whole(step.bytes)):
            raise InstanceError(
                f"instruction {_name(step, t)}: flops {step.flops!r}, bytes {step.bytes!r}; give whole numbers"
            )
    for b, buffer in enumerate(buffers):
        if not _whole(buffer.bytes) or buffer.bytes == 0:
            raise InstanceError(
                f"buffer {_name(buffer, b)}: its size is {buffer.bytes!r} bytes; give a whole number above 0"
            )
        if not _whole(buffer.define + 1) or buffer.define >= len(steps):
            raise InstanceError(
                f"buffer {_name(buffer, b)}: it is defined by step {buffer.define!r}, but the program has the steps "
                f"0..{len(steps) - 1}; give one of them, or -1 for a parameter"
            )
        if not _whole(buffer.alias + 1) or buffer.alias >= len(buffers):
            raise InstanceError(
                f"buffer {_name(buffer, b)}: its alias is buffer {buffer.alias!r} of {len(buffers)}; give a number or -1"
            )
    program.roots()  # refuses cycles
    seen: set[tuple[int, int]] = set()
    traffic = [0] * len(steps)
    for use in program.uses:
        if not (_whole(use.buffer) and use.buffer < len(buffers)):
            raise InstanceError(f"a use names buffer {use.buffer!r} of {len(buffers)}; list the buffer first")
        buffer = buffers[use.buffer]
        who = f"buffer {_name(buffer, use.buffer)}"
        if not (_whole(use.step) and use.step < len(steps)):
            raise InstanceError(
                f"{who} lives to step {use.step!r}, beyond the program's last, {len(steps) - 1}; correct its use"
            )
        instruction = f"instruction {_name(steps[use.step], use.step)}"
        if use.step < buffer.define:
            definer = f"{_name(steps[buffer.define], buffer.define)} defines it"
            raise InstanceError(f"{instruction} uses {who} before {definer}; reorder the steps or correct the use")
        if not (_whole(use.read) and _whole(use.written)) or use.read + use.written == 0:
            raise InstanceError(
                f"{instruction}: it reads {use.read!r} and writes {use.written!r} bytes of {who}; give whole numbers"
            )
        if (use.buffer, use.step) in seen:
            raise InstanceError(f"{instruction} uses {who} twice; add the bytes up in one use")
        seen.add((use.buffer, use.step))
        traffic[use.step] += use.read + use.written
    for t, step in enumerate(steps):
        if traffic[t] > step.bytes:
            raise InstanceError(
                f"instruction {_name(step, t)}: its uses move {traffic[t]} bytes, more than its {step.bytes}; correct either"
            )
    _check_aliases(program)
    for b, buffer in enumerate(buffers):
        if buffer.define >= 0 and (b, buffer.define) not in seen:
            raise InstanceError(
                f"buffer {_name(buffer, b)}: instruction {_name(steps[buffer.define], buffer.define)} defines it without "
                "a use that writes it; add the use"
            )


def _check_aliases(program: Program) -> None:
    """Refuse a buffer whose memory is taken over before it is last used, or twice."""
    steps, buffers = program.steps, program.buffers
    heirs: dict[int, int] = {}
    for b, buffer in enumerate(buffers):
        if buffer.alias >= 0:
            if buffer.alias in heirs:
                both = f"{_name(buffers[heirs[buffer.alias]], heirs[buffer.alias])} and {_name(buffer, b)}"
                owner = _name(buffers[buffer.alias], buffer.alias)
                raise InstanceError(f"the buffers {both} both take over the memory of {owner}; copy it for one of them")
            heirs[buffer.alias] = b
    for use in program.uses:
        heir = heirs.get(use.buffer, -1)
        if heir >= 0 and use.step > buffers[heir].define:
            raise InstanceError(
                f"instruction {_name(steps[use.step], use.step)} uses buffer {_name(buffers[use.buffer], use.buffer)} after "
                f"{_name(buffers[heir], heir)} has taken over its memory; copy it first"
            )


def _name(item: Step | Buffer, number: int) -> str:
    return f"{item.name!r}" if item.name else str(number)


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 0)
