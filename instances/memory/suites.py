"""The benchmark suites of memory mapping: compiled programs at several capacities of a machine's fast memory.

Programs are files in ``data/memory/programs``; an instance is one of them on a TPUv4i with the capacity that its name
gives, "tf2_train@32MiB" or "unet_train@eighth" (of the peak of live bytes). Nothing is compiled when a suite is made.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from functools import cache, partial
from importlib import resources
from typing import Any

import numpy as np

from dispatchgym.instances.base import (
    InstanceError,
    Reference,
    Suite,
    SuiteEntry,
    SuiteTable,
    UnknownNameError,
    fingerprint,
)
from dispatchgym.instances.memory.formats import parse_program
from dispatchgym.instances.memory.instance import MemoryInstance
from dispatchgym.instances.memory.machine import MACHINES
from dispatchgym.instances.memory.program import Program
from dispatchgym.instances.memory.scenario import capacity_bytes
from dispatchgym.instances.memory.zoo import ZOO

FAMILY = "memory"
MACHINE = "tpu-v4i"

# Programs extracted before the traffic of slices was told apart, at the capacities of their published check values (MiB).
# In the last two, unrolled scans read whole stacks where they need a slice: conclusions about them would be wrong.
PUBLISHED: dict[str, tuple[int, ...]] = {
    "mlp_train": (4, 8),
    "tf2_infer": (16, 32),
    "resnet18_infer": (8,),
    "tf2_train": (32, 128),
    "resnet18_train": (16,),
    "tf6_train": (128,),
}
OVERCOUNTED: dict[str, tuple[int, ...]] = {"tf6_scan_train": (128,), "lstm_train": (16,)}

# Our own programs by family of models; whole families are held out, about a third of the programs.
FAMILIES = ("mlp", "cnn", "transformer", "recurrent", "product")
HELD_OUT_FAMILIES = ("graph", "residual", "unet", "experts", "recurrence", "recommender")
TRAINING = {family: tuple(ZOO[family]) for family in FAMILIES}
HELD_OUT = {family: tuple(ZOO[family]) for family in HELD_OUT_FAMILIES}
SHARES = ("eighth", "half")


def _published(programs: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """Names of instances, each with its group."""
    return {f"{program}@{mib}MiB": program for program, sizes in programs.items() for mib in sizes}


def _zoo(families: dict[str, tuple[str, ...]], group: str = "") -> dict[str, str]:
    return {
        f"{program}@{share}": group or family
        for family, programs in families.items()
        for program in programs
        for share in SHARES
    }


_MEMBERS: dict[str, tuple[str, dict[str, str]]] = {
    "published": ("six programs with published check values: MLP, transformers, ResNet18", _published(PUBLISHED)),
    "overcounted": ("check values only: unrolled scans whose traffic counts whole stacks", _published(OVERCOUNTED)),
    "jax-programs": (
        "our own JAX programs at an eighth and half of the peak of live bytes",
        _zoo(TRAINING, "train") | _zoo(HELD_OUT, "held out"),
    ),
    "jax-programs-train": ("the part of jax-programs that training may use", _zoo(TRAINING)),
    "jax-programs-test": ("the part of jax-programs that is held out: other families of models", _zoo(HELD_OUT)),
}
PROGRAMS = tuple(p for table in (*TRAINING.values(), PUBLISHED, OVERCOUNTED, *HELD_OUT.values()) for p in table)
INSTANCE_NAMES = tuple(dict.fromkeys(name for _, members in _MEMBERS.values() for name in members))


@cache
def _data(file: str) -> dict[str, Any]:
    path = resources.files("dispatchgym.instances") / "data" / "memory" / file
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def program(name: str) -> Program:
    """The program of that name of a suite ("tf2_train"). Raises UnknownNameError."""
    if name not in PROGRAMS:
        raise UnknownNameError("program", name, PROGRAMS)
    return _program(name)


@cache
def _program(name: str) -> Program:
    return parse_program(_data(f"programs/{name}.json"), name)


def everything_fast(instance: MemoryInstance) -> int:
    """Ticks of the program with every event served from fast memory: no plan is faster."""
    gains = np.bincount(instance.event_step, instance.gain, minlength=len(np.asarray(instance.memory)))
    return int(np.maximum(instance.compute, instance.memory - gains.astype(np.int64)).sum())


@cache
def _instance(name: str) -> tuple[MemoryInstance, Reference]:
    label, _, capacity = name.partition("@")
    compiled = program(label)
    instance = compiled.instance(MACHINES[MACHINE], capacity_bytes(capacity, compiled.peak_live()))
    for field in fields(instance):
        getattr(instance, field.name).setflags(write=False)  # the entry is cached and shared
    if known := _data("references.json")["references"].get(name):
        return instance, Reference(**known)
    bound = everything_fast(instance)
    return instance, Reference(bound, "bound", bound, "everything in fast memory, whatever its capacity")


def named(name: str) -> SuiteEntry:
    """The instance "program@capacity" ("tf2_train@32MiB"): one of a suite, or a program of one with another capacity.

    Raises UnknownNameError for another program or capacity.
    """
    try:
        instance, reference = _instance(name)
    except (InstanceError, UnknownNameError):
        raise UnknownNameError("instance", name, INSTANCE_NAMES) from None
    return SuiteEntry(name, instance, reference, name.partition("@")[0])


@cache
def _suite(name: str) -> Suite:
    description, members = _MEMBERS[name]
    entries = (SuiteEntry(member, *_instance(member), group) for member, group in members.items())
    return Suite(name, FAMILY, 1, description, tuple(entries))


SUITES: SuiteTable = {name: partial(_suite, name) for name in _MEMBERS}


def digest(suite: Suite) -> str:
    """The sha256 of a suite's instances: of [[name, fingerprint], ...] as JSON without spaces; references do not enter.

    ``data/memory/digests.json`` holds the committed values.
    """
    content = [[entry.name, fingerprint(entry.instance)] for entry in suite]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
