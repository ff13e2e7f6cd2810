"""Memory files: programs and instances survive a round trip, and whatever is wrong with one is named in one line."""

from __future__ import annotations

import copy
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.memory import (
    MACHINES,
    MemoryInstance,
    Program,
    coerce,
    load,
    load_program,
    named,
    program,
    save,
)
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE
from dispatchgym.instances.memory.machine import Machine

KIB, MIB = 2**10, 2**20

# Of each step a name, of each buffer what the text below says; bytes of steps hold 64 KiB of small arrays more.
# w is a parameter of 2 MiB; "dot" reads it and writes y (1 MiB); "relu" reads y and writes z; "update" writes half of v, which
# takes the memory of w, and reads z. v is the output.
PROGRAM: dict[str, Any] = {
    "format": "memory-program/1",
    "name": "step",
    "source": {"licence": "Apache-2.0"},
    "granule": 65536,
    "threshold": 65536,
    "steps": {
        "name": ["dot", "relu", "update"],
        "op": ["dot", "maximum", "dynamic-update-slice"],
        "flops": [10**7, 10**6, 0],
        "bytes": [3 * MIB + 64 * KIB, 2 * MIB + 64 * KIB, 2 * MIB + 64 * KIB],
    },
    "buffers": {
        "name": ["w", "y", "z", "v"],
        "bytes": [2 * MIB, MIB, MIB, 2 * MIB],
        "define": [-1, 0, 1, 2],
        "output": [0, 0, 0, 1],
        "alias": [-1, -1, -1, 0],
    },
    "events": {
        "buffer": [0, 1, 1, 2, 2, 3],
        "step": [0, 0, 1, 1, 2, 2],
        "read_bytes": [2 * MIB, 0, MIB, 0, MIB, 0],
        "write_bytes": [0, MIB, 0, MIB, 0, MIB],
    },
}
PLAIN = Machine(
    "plain", flops=2**34, slow=2**34, fast=2**36, copy=2**33, capacity=MIB
)  # a byte a tick, at a quarter if fast


@pytest.fixture
def written(tmp_path: Path):
    """Write an object as JSON; its path."""

    def write(value: Any, name: str = "file.json") -> Path:
        path = tmp_path / name
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    return write


def changed(**columns: Any) -> dict[str, Any]:
    """The program with columns such as ``steps_flops`` replaced, or parts of it such as ``name``."""
    value = copy.deepcopy(PROGRAM)
    for key, column in columns.items():
        part, _, name = key.partition("_")
        if name:
            value[part][name] = column
        else:
            value[key] = column
    return value


def test_compiled_by_hand(written) -> None:
    i = load(written(PROGRAM), machine=PLAIN, capacity="half")
    assert i.size == (3, 3, 6)  # v and w are one storage
    assert i.compute.tolist() == [10**7, 10**6, 0]
    assert i.memory.tolist() == PROGRAM["steps"]["bytes"]
    assert i.granules.tolist() == [32, 16, 16]
    assert i.define.tolist() == [-1, 0, 1]
    assert i.output.tolist() == [1, 0, 0]
    assert i.demand.tolist() == [4 * MIB, 2 * MIB, 2 * MIB]  # copies run at half the rate
    # Live at most: w with y, and z while "relu" runs; half of 4 MiB
    assert i.capacity == 32
    events = list(
        zip(i.event_step.tolist(), i.event_buffer.tolist(), i.event_kind.tolist(), i.gain.tolist(), strict=True)
    )
    assert events == [
        *((0, 1, WRITE, 3 * MIB // 4), (0, 0, READ, 3 * MIB // 2)),
        *((1, 2, WRITE, 3 * MIB // 4), (1, 1, READ, 3 * MIB // 4)),
        *((2, 0, UPDATE, 3 * MIB // 4), (2, 2, READ, 3 * MIB // 4)),
    ]
    assert i.traffic.tolist() == [MIB, 2 * MIB, MIB, MIB, MIB, MIB]


def test_numbers_beyond_an_instance(written) -> None:
    path = written(changed(steps_flops=[2**24, 0, 0]))
    with pytest.raises(InstanceError, match=r"step 0: compute is 16777216 ticks; give 0..16777215, or split the step"):
        load(path, machine=PLAIN)


def test_programs_survive(tmp_path: Path, written) -> None:
    program = load_program(written(PROGRAM))
    assert program.uses[-1] == (3, 2, 0, MIB)
    save(program, tmp_path / "again.json", scenario={"machine": "h100", "capacity": "eighth"})
    assert load_program(tmp_path / "again.json") == program
    instance = load(tmp_path / "again.json")
    expected = program.instance(MACHINES["h100"], program.peak_live() // 8)
    assert all((getattr(instance, f.name) == getattr(expected, f.name)).all() for f in fields(instance))
    assert load(tmp_path / "again.json", machine="a100", capacity=MIB).capacity == 16
    assert (load(written(PROGRAM)).compute == program.instance(MACHINES["tpu-v4i"], MIB).compute).all()
    assert load(written(PROGRAM)).capacity == 16  # a quarter of 4 MiB
    ten = MACHINES["tpu-v4i"].with_ratio(10)
    save(program, tmp_path / "ten.json", scenario={"ratio": 10})
    assert (load(tmp_path / "ten.json").gain == program.instance(ten, MIB).gain).all()
    assert (load(written(PROGRAM), ratio=10).gain == program.instance(ten, MIB).gain).all()
    assert (load(tmp_path / "ten.json", machine=PLAIN).gain == program.instance(PLAIN, MIB).gain).all()


def test_suite_programs_survive(tmp_path: Path) -> None:
    from dispatchgym.instances.memory import program

    for name in ("mlp_train", "lstm_scan_train"):
        save(program(name), tmp_path / "copy.json")
        assert load_program(tmp_path / "copy.json") == program(name)


def test_instances_survive(tmp_path: Path) -> None:
    instance = named("mlp_train@4MiB").instance
    padded = instance.pad(instance.size._replace(events=99, buffers=60))
    save(padded, tmp_path / "mlp.json", name="mlp")
    for again in (load(tmp_path / "mlp.json"), coerce(str(tmp_path / "mlp.json"))):
        assert isinstance(again, MemoryInstance)
        for field in fields(again):
            array = getattr(again, field.name)
            assert array.dtype == np.int32
            assert (array == getattr(instance, field.name)).all()
    with pytest.raises(InstanceError, match="an instance has its machine and capacity"):
        load(tmp_path / "mlp.json", capacity=4)


def test_optional_columns_may_be_left_out(written) -> None:
    plain = changed(buffers_output=[0, 0, 0, 1])
    del plain["buffers"]["alias"], plain["granule"], plain["source"]
    folded = plain | {"steps": plain["steps"] | {"mult": [1, 1, 1], "loop": [-1, -1, -1]}}
    assert load_program(written(folded)) == load_program(written(plain))
    assert load(written(plain)).size.buffers == 4


CASES = [
    ("[1, 2]", "the file holds a list; give a JSON object"),
    ('{"format": "memory-program/1",\n "steps": [}', "line 2: Expecting value"),
    ({"format": "memory-program/2"}, "the format is 'memory-program/2'; give 'memory-program/1' or 'dispatchgym-memory'"),
    (changed(granule=4096), "granule is 4096; this version needs 65536"),
    (changed(name=3), "give the program's name as text"),
    (changed(steps=[]), "steps is no object; give the arrays name, op, flops, bytes in it"),
    (changed(steps_flops=None), "steps has no array 'flops'"),
    (changed(steps_flops=[1, 2.5, 3]), "flops 1 of steps is 2.5; give a whole number"),
    (changed(steps_flops=[1, 2]), "steps has 3 name, 3 op, 2 flops, 3 bytes; give arrays of one length"),
    (changed(steps_mult=[1, 6, 1]), "instruction 'relu' has the mult 6 of a folded loop; unroll the loop"),
    (changed(steps_loop=[0, -1, -1]), "instruction 'dot' has the loop 0 of a folded loop"),
    (changed(steps_mult=1), "mult of steps is no array of 3 entries"),
    (changed(steps_bytes=[10, 10, 10]), "instruction 'dot': its uses move 3145728 bytes, more than its 10; correct either"),
    (changed(steps_flops=[1, -2, 3]), "instruction 'relu': flops -2, bytes 2162688; give whole numbers"),
    (changed(buffers_output=[0, 0, 0, 2]), "buffer 'v': output is 2; give 0 or 1"),
    (changed(buffers_bytes=[0, 1, 1, 1]), "buffer 'w': its size is 0 bytes; give a whole number above 0"),
    (changed(buffers_define=[-1, 0, 9, 2]), "buffer 'z': it is defined by step 9, but the program has the steps 0..2"),
    (changed(buffers_define=[-1, 0, 0, 2]), "buffer 'z': instruction 'dot' defines it without a use that writes it"),
    (changed(buffers_define=[-1, 1, 1, 2]), "instruction 'dot' uses buffer 'y' before 'relu' defines it; reorder the steps"),
    (changed(buffers_alias=[-1, -1, -1, 7]), "buffer 'v': its alias is buffer 7 of 4; give a number or -1"),
    (changed(buffers_alias=[3, -1, -1, 0]), "the aliases 'w' -> 'v' -> 'w' form a cycle"),
    (changed(buffers_alias=[-1, -1, 1, 1]), "the buffers 'z' and 'v' both take over the memory of 'y'; copy it for one"),
    (changed(buffers_alias=[-1, 0, -1, -1], events_step=[1, 0, 1, 1, 2, 2], steps_bytes=[9 * MIB] * 3),
     "instruction 'relu' uses buffer 'w' after 'y' has taken over its memory; copy it first"),
    (changed(events_step=[0, 0, 1, 1, 8, 2]), "buffer 'z' lives to step 8, beyond the program's last, 2; correct its use"),
    (changed(events_buffer=[0, 1, 1, 2, 5, 3]), "a use names buffer 5 of 4; list the buffer first"),
    (changed(events_buffer=[0, 1, 1, 2, 3, 3]), "instruction 'update' uses buffer 'v' twice; add the bytes up in one use"),
    (changed(events_read_bytes=[0, 0, 0, 0, 0, 0]), "instruction 'dot': it reads 0 and writes 0 bytes of buffer 'w'"),
    (changed(scenario={"machine": "tpu"}), "unknown machine 'tpu'; did you mean"),
    (changed(scenario={"memory": 3}), "the scenario is {'memory': 3}; give an object of machine and capacity, and perhaps ratio"),
    (changed(scenario={"ratio": "20"}), "the ratio of bandwidths is '20'; give a whole number in 1..1000000"),
    (changed(scenario={"capacity": "64B"}), "the capacity is '64B'; give bytes, KiB, MiB or GiB"),
    (changed(steps_flops=[10**30, 0, 0]), "too large for int32"),
    ({"format": "dispatchgym-memory", "version": 2}, "the version is 2; give 1"),
    ({"format": "dispatchgym-memory", "version": 1}, "compute is missing; give compute, memory, "),
]  # fmt: skip


@pytest.mark.parametrize(("content", "said"), CASES, ids=[said[:40] for _, said in CASES])
def test_bad_files_are_named(content: Any, said: str, written) -> None:
    path = written(content, "bad.json")
    with pytest.raises((InstanceError, UnknownNameError)) as caught:
        load(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnknownNameError) or str(caught.value).startswith(str(path))


def test_bad_instances_are_named(tmp_path: Path) -> None:
    save(named("mlp_train@4MiB").instance, tmp_path / "good.json")
    good = json.loads((tmp_path / "good.json").read_text(encoding="utf-8"))
    for key, value, said in (
        ("capacity", 0, "capacity is 0 granules"),
        (
            "event_step",
            [99, *good["event_step"][1:]],
            "event 0: buffer 4 is used in step 99, but the program has the steps",
        ),
        ("compute", "fast", "compute holds"),
        ("gain", good["gain"][1:], "have the shapes"),
    ):
        (tmp_path / "bad.json").write_text(json.dumps(good | {key: value}), encoding="utf-8")
        with pytest.raises(InstanceError) as caught:
            load(tmp_path / "bad.json")
        assert said in str(caught.value)
        assert str(caught.value).startswith(str(tmp_path / "bad.json"))


def test_other_files_and_options(tmp_path: Path, written) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"name": "\n\xe9"}')
    with pytest.raises(InstanceError, match="line 2: byte 0xe9 is not UTF-8; save the file as UTF-8 text"):
        load(tmp_path / "latin.json")
    with pytest.raises(InstanceError, match="no such file"):
        load(tmp_path / "none.json")
    with pytest.raises(UnknownNameError, match="unknown format 'csv'"):
        load(written(PROGRAM), format="csv")
    with pytest.raises(InstanceError, match="the format is 'memory-program/1', not 'dispatchgym-memory'"):
        load(written(PROGRAM), format="dispatchgym-memory")
    with pytest.raises(InstanceError, match="cannot be written"):
        save(load_program(written(PROGRAM)), tmp_path / "no" / "folder.json")
    save(named("mlp_train@4MiB").instance, tmp_path / "instance.json")
    with pytest.raises(InstanceError, match="the file holds an instance, not a program"):
        load_program(tmp_path / "instance.json")


def test_a_refused_instance_leaves_the_file_alone(tmp_path: Path) -> None:
    instance = named("mlp_train@4MiB").instance
    save(instance, tmp_path / "kept.json")
    before = (tmp_path / "kept.json").read_bytes()
    with pytest.raises(InstanceError, match="capacity is -1"):
        save(replace(instance, capacity=np.int32(-1)), tmp_path / "kept.json")
    assert (tmp_path / "kept.json").read_bytes() == before


def test_a_program_without_large_buffers_has_nothing_to_decide() -> None:
    from dispatchgym.instances.memory.program import Step

    program = Program.checked("small", [Step("add", "add", 3, 36)], [], [])
    with pytest.raises(InstanceError, match="uses no buffer of 65536 bytes or more: there is nothing to decide"):
        program.instance(MACHINES["tpu-v4i"])
    with pytest.raises(InstanceError, match="program 'none' has no steps"):
        Program.checked("none", [], [], [])
    with pytest.raises(InstanceError, match="the capacity of 65535 bytes is below one granule"):
        program.instance(MACHINES["tpu-v4i"], 65535)


def test_a_machine_with_another_ratio_gains_less_or_more():
    made, machine = program("mlp_train"), MACHINES["tpu-v4i"]
    gains = [made.instance(machine.with_ratio(ratio), 4 * 2**20).gain.sum() for ratio in (1, 10, 20)]
    assert gains[0] == 0
    assert gains[0] < gains[1] < gains[2]
    assert machine.with_ratio(20) == machine
    with pytest.raises(InstanceError, match=r"the ratio of bandwidths is 0; give a whole number in 1\.\.1000000"):
        machine.with_ratio(0)
    with pytest.raises(InstanceError, match=r"the ratio of bandwidths is 2\.5; give a whole number"):
        machine.with_ratio(2.5)
