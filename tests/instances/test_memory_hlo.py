"""Reading scheduled HLO: the programs of written-out modules, counted by hand. No compiler runs here."""

from __future__ import annotations

import pytest

from dispatchgym.instances import InstanceError
from dispatchgym.instances.memory.extract import from_hlo
from dispatchgym.instances.memory.hlo import Array, parse, parse_shape, split
from dispatchgym.instances.memory.instance import READ, UPDATE
from dispatchgym.instances.memory.program import Program

KIB = 2**10
HEADER = "HloModule jit_f, is_scheduled=true, entry_computation_layout={()->()}"
TABLES = 'FileNames\n1 "/home/someone/a = b(c).py"\n\nStackFrames\n1 {file_location_id=1 parent_frame_id=1}\n'


def program(body: str, header: str = HEADER, **options) -> Program:
    return from_hlo(f"{header}\n\n{TABLES}\n{body}\n", "test", **options)


def moved(made: Program) -> list[tuple[str, str, int, int]]:
    """Instruction, buffer, KiB read and written, of each use."""
    return [(made.steps[u.step].name, made.buffers[u.buffer].name, u.read // KIB, u.written // KIB) for u in made.uses]


# 256 x 256 float32 are 256 KiB; a row of 8 of them 64 KiB
DOT = """
%fused (p0: f32[256,256], p1: f32[256,256]) -> f32[256,256] {
  %p0 = f32[256,256]{1,0} parameter(0)
  %p1 = f32[256,256]{1,0} parameter(1)
  %d = f32[256,256]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}, metadata={op_name="\\"b\\" (c" stack_frame_id=5}
  %c = f32[] constant(0)
  %b = f32[256,256]{1,0} broadcast(%c), dimensions={}
  ROOT %m = f32[256,256]{1,0} maximum(%d, %b)
}

ENTRY %main (x: f32[256,256], y: f32[256,256]) -> (f32[256,256], f32[256]) {
  %x = f32[256,256]{1,0} parameter(0), metadata={op_name="x"}
  %y = f32[256,256]{1,0} parameter(1)
  %k = f32[] constant(2)
  %f = f32[256,256]{1,0} fusion(%x, /*index=1*/%y), kind=kOutput, calls=%fused, backend_config={"a":"calls=%none, )"}
  %s = f32[256,256]{1,0} multiply(%f, %f)
  %bc = f32[65536]{0} bitcast(%s)
  %r = f32[256]{0} slice(%bc), slice={[0:256]}
  ROOT %t = (f32[256,256]{1,0}, /*index=1*/f32[256]{0}) tuple(%s, %r)
}
"""


def test_steps_buffers_and_traffic_by_hand() -> None:
    made = program(DOT)
    assert [(s.name, s.op) for s in made.steps] == [("f", "fusion"), ("s", "multiply"), ("r", "slice")]
    assert [s.flops for s in made.steps] == [2 * 256**3 + 256**2, 256**2, 0]
    assert [s.bytes for s in made.steps] == [3 * 256 * KIB, 2 * 256 * KIB, 2 * KIB]  # an operand taken twice moves once
    assert [(b.name, b.define, b.output) for b in made.buffers] == [
        *(("x", -1, False), ("y", -1, False), ("f", 0, False), ("s", 1, True))
    ]
    assert moved(made) == [
        *(("f", "x", 256, 0), ("f", "y", 256, 0), ("f", "f", 0, 256)),
        *(("s", "f", 256, 0), ("s", "s", 0, 256)),
        ("r", "s", 1, 0),  # 256 elements through the bitcast, not 65536
    ]
    assert made.peak_live() == 3 * 256 * KIB  # x, y and f


def test_elements_of_float32_may_count_as_two_bytes() -> None:
    made = program(DOT, float32=2)
    assert [s.bytes for s in made.steps] == [3 * 128 * KIB, 2 * 128 * KIB, KIB]
    assert [s.flops for s in made.steps] == [s.flops for s in program(DOT).steps]


def test_the_hash_knows_nothing_of_paths_and_threads() -> None:
    plain = program(DOT).source["hlo_sha256"]
    elsewhere = DOT.replace("stack_frame_id=5", "stack_frame_id=77").replace(
        'backend_config={"a":', 'backend_config={"outer_dimension_partitions":["8"],"a":'
    )
    threads = DOT.replace('backend_config={"a":', 'backend_config={"outer_dimension_partitions":["2"],"a":')
    assert program(elsewhere).source["hlo_sha256"] == program(threads).source["hlo_sha256"]
    assert program(DOT.replace("maximum", "minimum")).source["hlo_sha256"] != plain


SLICES = """
%cut (p0: f32[64,8,256], p1: s32[]) -> f32[8,256] {
  %p0 = f32[64,8,256]{2,1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %z = s32[] constant(0)
  %n = f32[64,8,256]{2,1,0} negate(%p0)
  %ds = f32[1,8,256]{2,1,0} dynamic-slice(%n, %p1, %z, %z), dynamic_slice_sizes={1,8,256}
  ROOT %b = f32[8,256]{1,0} bitcast(%ds)
}

%put (p0: f32[64,8,256], p1: f32[8,256], p2: s32[]) -> f32[64,8,256] {
  %p0 = f32[64,8,256]{2,1,0} parameter(0)
  %p1 = f32[8,256]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  %z = s32[] constant(0)
  %b = f32[1,8,256]{2,1,0} bitcast(%p1)
  ROOT %u = f32[64,8,256]{2,1,0} dynamic-update-slice(%p0, %b, %p2, %z, %z)
}

ENTRY %main (x: f32[64,8,256], i: s32[]) -> f32[64,8,256] {
  %x = f32[64,8,256]{2,1,0} parameter(0)
  %i = s32[] parameter(1)
  %a = f32[64,8,256]{2,1,0} add(%x, %x)
  %c = f32[8,256]{1,0} fusion(%x, %i), kind=kLoop, calls=%cut
  ROOT %p = f32[64,8,256]{2,1,0} fusion(%a, %c, %i), kind=kLoop, calls=%put
}
"""


def test_slices_and_updates_in_place_move_only_the_slice() -> None:
    made = program(SLICES)
    assert moved(made) == [
        *(("a", "x", 512, 0), ("a", "a", 0, 512)),
        *(("c", "x", 8, 0),),
        ("p", "p", 0, 8),
    ]
    a, p = (next(b for b in made.buffers if b.name == name) for name in "ap")
    assert (made.buffers[p.alias].name, a.alias, p.output) == ("a", -1, True)
    assert made.steps[2].bytes == 8 * KIB + 8 * KIB + 4  # the slice read and written, the index


PAIR = "(f32[64,8,256]{2,1,0}, f32[64,8,256]{2,1,0})"


@pytest.mark.parametrize(
    ("body", "source"),
    [
        (SLICES.replace("fusion(%a, %c, %i)", "fusion(%x, %c, %i)"), "x"),
        (SLICES.replace("calls=%put\n", "calls=%put\n  ROOT %q = f32[64,8,256]{2,1,0} add(%p, %a)\n"), "a"),
        (SLICES.replace("calls=%put\n", f"calls=%put\n  ROOT %q = {PAIR} tuple(%p, %a)\n"), "a"),
    ],
    ids=["of a parameter", "of what is read later", "of an output"],
)
def test_an_update_of_what_is_still_needed_is_a_copy(body: str, source: str) -> None:
    made = program(body.replace("ROOT %p", "%p") if "%q" in body else body)
    assert all(b.alias == -1 for b in made.buffers)
    assert [use for use in moved(made) if use[0] == "p"] == [("p", source, 512, 0), ("p", "p", 0, 512)]


def test_donated_parameters_give_their_memory() -> None:
    header = f"{HEADER}, input_output_alias={{ {{}}: (0, {{}}, may-alias) }}"
    assert parse(f"{header}\n{SLICES}").donated == {0: 0}
    first = "  %a = f32[64,8,256]{2,1,0} add(%x, %x)\n"
    last = "  %c = f32[8,256]{1,0} fusion(%x, %i), kind=kLoop, calls=%cut\n"
    storages, events = program(SLICES.replace(first + last, last + first), header).storages()
    assert [(s.name, s.define, s.output) for s in storages] == [("x", -1, True)]
    assert [(step, kind, read // KIB, written // KIB) for _, step, kind, read, written in events] == [
        *((0, READ, 8, 0), (1, UPDATE, 512, 512), (2, UPDATE, 0, 8))
    ]
    # As the text has it, "c" reads x after "a" is there, which therefore cannot be where x is.
    storages, _ = program(SLICES, header).storages()
    assert [(s.name, s.define, s.output) for s in storages] == [("x", -1, False), ("a", 0, True)]


def test_several_results_may_be_donated() -> None:
    alias = (
        "input_output_alias={ {0}: (1, {}, may-alias), {2}: (0, {}, must-alias) }, entry_computation_layout={()->()}"
    )
    assert parse(f"HloModule m, is_scheduled=true, {alias}\n{DOT}").donated == {0: 1, 2: 0}


SCATTER = """
%region (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] add(%a, %b)
}

ENTRY %main (x: f32[1024,256], i: s32[64,1], u: f32[64,256]) -> (f32[1024,256], f32[64,256]) {
  %x = f32[1024,256]{1,0} parameter(0)
  %i = s32[64,1]{1,0} parameter(1)
  %u = f32[64,256]{1,0} parameter(2)
  %c = f32[1024,256]{1,0} copy(%x)
  %s = f32[1024,256]{1,0} scatter(%c, %i, %u), DIMENSIONS, to_apply=%region
  %g = f32[64,256]{1,0} gather(%s, %i), index_vector_dim=1, slice_sizes={1,256}
  ROOT %t = (f32[1024,256]{1,0}, f32[64,256]{1,0}) tuple(%s, %g)
}
"""


def test_scatter_and_gather_move_rows() -> None:
    dimensions = (
        "update_window_dims={1}, inserted_window_dims={0}, scatter_dims_to_operand_dims={0}, index_vector_dim=1"
    )
    made = program(SCATTER.replace("DIMENSIONS", dimensions))
    assert moved(made) == [
        *(("c", "x", 1024, 0), ("c", "c", 0, 1024)),
        *(("s", "u", 64, 0), ("s", "c", 64, 0), ("s", "s", 0, 64)),
        *(("g", "s", 64, 0), ("g", "g", 0, 64)),
    ]
    assert [s.flops for s in made.steps] == [0, 64 * 256, 0]
    assert made.steps[1].bytes == 3 * 64 * KIB + 256


LOOP = """
%body (t: (s32[], f32[128,256], f32[128,256])) -> (s32[], f32[128,256], f32[128,256]) {
  %t = (s32[], f32[128,256]{1,0}, f32[128,256]{1,0}) parameter(0)
  %one = s32[] constant(1)
  %i = s32[] get-tuple-element(%t), index=0
  %h = f32[128,256]{1,0} get-tuple-element(%t), index=1
  %w = f32[128,256]{1,0} get-tuple-element(%t), index=2
  %keep = f32[128,256]{1,0} copy(%h)
  %turn = f32[128,256]{0,1} copy(%h)
  %j = s32[] add(%i, %one)
  %n = f32[128,256]{1,0} subtract(%keep, %turn)
  ROOT %r = (s32[], f32[128,256]{1,0}, f32[128,256]{1,0}) tuple(%j, %n, %w)
}

%up (t: (s32[], f32[128,256], f32[128,256])) -> pred[] {
  %t = (s32[], f32[128,256]{1,0}, f32[128,256]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %k = s32[] constant(3)
  ROOT %lt = pred[] compare(%i, %k), direction=LT
}

ENTRY %main (x: f32[128,256], w: f32[128,256]) -> f32[128,256] {
  %x = f32[128,256]{1,0} parameter(0)
  %w = f32[128,256]{1,0} parameter(1)
  %z = s32[] constant(0)
  %t = (s32[], f32[128,256]{1,0}, f32[128,256]{1,0}) tuple(%z, %x, %w)
  %loop = (s32[], f32[128,256]{1,0}, f32[128,256]{1,0}) while(%t), condition=%up, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %out = f32[128,256]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_loops_are_unrolled() -> None:
    made = program(LOOP)
    # the copy that only keeps the carried value is none; that which turns the layout is a step
    assert [s.name for s in made.steps] == ["turn#0", "n#0", "turn#1", "n#1", "turn#2", "n#2"]
    assert moved(made)[:6] == [
        *(("turn#0", "x", 128, 0), ("turn#0", "turn#0", 0, 128)),
        *(("n#0", "x", 128, 0), ("n#0", "turn#0", 128, 0), ("n#0", "n#0", 0, 128)),
        ("turn#1", "n#0", 128, 0),
    ]
    assert [b.name for b in made.buffers if b.output] == ["n#2"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (LOOP.replace('"known_trip_count":{"n":"3"}', ""), "loop 'loop' has no trip count known to the compiler"),
        (
            LOOP.replace('"n":"3"', '"n":"65"'),
            "loop 'loop' has 65 iterations, more than the 64 to unroll; raise unroll",
        ),
        (DOT.replace("multiply(%f, %f)", "conditional(%f, %f)"), "instruction 's' (conditional) chooses between"),
        (DOT.replace("256", "16"), "has no array of 65536 bytes or more: there is nothing to decide"),
        (DOT.replace("f32", "q7"), "arrays of the type 'q7' have no known size"),
        (DOT.replace("calls=%fused", "calls=%gone"), "instruction 'f' names no computation as calls"),
        (DOT.replace("ENTRY ", ""), "the text has no ENTRY computation"),
        (DOT.replace("constant(2)", "constant(2"), "is not closed"),
        (DOT.replace("%k = f32[]", "%k is f32[]"), "is no instruction; give the text of a compiled HLO module"),
    ],
)
def test_what_fits_no_schedule_is_refused(body: str, said: str) -> None:
    with pytest.raises(InstanceError) as caught:
        program(body)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_texts_are_refused() -> None:
    with pytest.raises(InstanceError, match="give that of a compiled"):
        program(DOT, header="HloModule jit_f, entry_computation_layout={()->()}")
    assert len(program(LOOP.replace('"n":"3"', '"n":"65"'), unroll=65).steps) == 130


@pytest.mark.parametrize(
    ("attributes", "products"),
    [
        # a 3 x 3 kernel on 8 x 8: 6 x 6 places without padding; with it 22 of 24 rows and columns meet the input
        ("window={size=3x3}, dim_labels=b01f_01io->b01f", 6 * 6 * 9),
        ("window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f", 22 * 22),
        # every second place: rows 0, 2, 4, 6 with a pad of 1 above meet 2, 3, 3 and 3 rows
        ("window={size=3x3 stride=2x2 pad=1_0x1_0}, dim_labels=b01f_01io->b01f", 11 * 11),
        # a dilated input has zeros between, 15 rows: 13 places meet 2, 1, 2, ... of them
        ("window={size=3x3 lhs_dilate=2x2}, dim_labels=b01f_01io->b01f", 20 * 20),
        # a dilated kernel spans 5 rows
        ("window={size=3x3 rhs_dilate=2x2}, dim_labels=b01f_01io->b01f", 4 * 4 * 9),
    ],
)
def test_convolutions_count_no_padding(attributes: str, products: int) -> None:
    side = {"window={size=3x3},": 6, "pad=1_1": 8, "stride": 4, "lhs_dilate": 13, "rhs_dilate": 4}
    out = next(n for key, n in side.items() if key in attributes)
    made = program(f"""
ENTRY %main (x: f32[16,8,8,32], w: f32[3,3,32,64]) -> f32[16,{out},{out},64] {{
  %x = f32[16,8,8,32]{{3,2,1,0}} parameter(0)
  %w = f32[3,3,32,64]{{3,2,1,0}} parameter(1)
  ROOT %c = f32[16,{out},{out},64]{{3,2,1,0}} convolution(%x, %w), {attributes}
}}
""")
    assert made.steps[0].flops == 2 * products * 16 * 32 * 64


def test_shapes_and_lists() -> None:
    assert parse_shape("(f32[2,3]{1,0:T(8,128)}, (s32[], pred[4]{0}), token[])") == (
        Array("f32", (2, 3)),
        (Array("s32", ()), Array("pred", (4,))),
        Array("token", ()),
    )
    assert parse_shape("bf16[<=8,2]{1,0}").elements == 16
    assert split('a={1,2}, b="x,\\"y", c=(d, [e,f])') == ["a={1,2}", 'b="x,\\"y"', "c=(d, [e,f])"]
    assert split("") == []
    with pytest.raises(InstanceError, match="is no shape"):
        parse_shape("F32[2]")
