"""Damaged HLO texts: each is read, or refused in one line by an error of ours that names what is wrong with it."""

from __future__ import annotations

import random
import re
from collections import Counter

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from test_memory_hlo import DOT, HEADER, LOOP, SCATTER, SLICES, TABLES

from dispatchgym.instances.base import DispatchGymError, InstanceError
from dispatchgym.instances.memory.extract import compiled, from_hlo

CONVOLUTION = """
ENTRY %main (x: f32[16,8,8,32], w: f32[3,3,32,64]) -> f32[16,8,8,64] {
  %x = f32[16,8,8,32]{3,2,1,0} parameter(0)
  %w = f32[3,3,32,64]{3,2,1,0} parameter(1)
  ROOT %c = f32[16,8,8,64]{3,2,1,0} convolution(%x, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
}
"""
ROWS = "update_window_dims={1}, inserted_window_dims={0}, scatter_dims_to_operand_dims={0}, index_vector_dim=1"
BY_HAND = {
    name: f"{HEADER}, input_output_alias={{ {{}}: (0, {{}}, may-alias) }}\n{TABLES}{body}"
    for name, body in (
        ("dot", DOT),
        ("slices", SLICES),
        ("scatter", SCATTER.replace("DIMENSIONS", ROWS)),
        ("loop", LOOP),
        ("convolution", CONVOLUTION),
    )
}
TOKEN = re.compile(r"\w+|\s|.", re.DOTALL)
GARBAGE = [
    "-1",
    "0",
    "7",
    "9" * 20,
    "",
    "(",
    ")",
    "{",
    "}",
    "[",
    ",",
    '"',
    "\\",
    "²",
    "\ud800",
    "\x00",
    "\u2028",
    "tuple",
]
OPS = [
    "tuple",
    "while",
    "fusion",
    "call",
    "dot",
    "scatter",
    "dynamic-update-slice",
    "copy-done",
    "get-tuple-element",
    "no",
]


def real() -> str:
    """A training step with a loop, a convolution, a scatter, a gather and donated arguments, as compiled here."""

    def step(w, xs, table, index, kernel):
        def loss(w):
            _, ys = lax.scan(lambda h, x: (jnp.tanh(h @ w + x),) * 2, jnp.zeros((128, 128)), xs)
            dimensions = ("NHWC", "HWIO", "NHWC")
            made = lax.conv_general_dilated(ys[..., None], kernel, (2, 2), "SAME", dimension_numbers=dimensions)
            return jnp.square(made).sum()

        return w - jax.grad(loss)(w), table.at[index].add(jnp.ones((64, 256))), table[index]

    shapes = ((128, 128), (4, 128, 128), (1024, 256), (64,), (3, 3, 1, 8))
    args = [jax.ShapeDtypeStruct(shape, jnp.int32 if len(shape) == 1 else jnp.float32) for shape in shapes]
    text: str = compiled(step, args, "step", donate=(0, 2)).as_text()
    return text


def damaged(text: str, rng: random.Random) -> str:
    """The text with one to three lines or tokens deleted, repeated, exchanged or replaced."""
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(8)
        if kind < 3:
            lines = text.split("\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            if kind == 0:
                del lines[i]
            elif kind == 1:
                lines.insert(j, lines[i])
            else:
                lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
            continue
        # The last three leave the structure of the text alone, and reach deeper into the reading of it.
        deep = {5: r"\b\d+\b", 6: r"%[\w.-]+", 7: r"(?<= )[a-z][a-z-]*(?=\()"}
        found = list(re.finditer(deep[kind], text)) if kind in deep else list(TOKEN.finditer(text))
        at, other = rng.choice(found), rng.choice(found)
        fresh = [
            "",
            at[0] + other[0],
            rng.choice(GARBAGE),
            rng.choice(["0", "1", "5", "300"]),
            other[0],
            rng.choice(OPS),
        ]
        text = text[: at.start()] + fresh[kind - 3 if kind < 7 else 5] + text[at.end() :]
        if kind == 5 and rng.random() < 0.5:  # an attribute less
            text = re.sub(
                rf", {rng.choice(['index', 'window', 'dim_labels', 'calls', 'body'])}=[^,\n]*", "", text, count=1
            )
    return text


def test_damaged_texts_are_read_or_refused() -> None:
    ends: Counter[str] = Counter()
    for name, text in (BY_HAND | {"real": real()}).items():
        assert from_hlo(text, name).steps
        for seed in range(300):
            mutant = damaged(text, random.Random(f"{name} {seed}"))
            try:
                from_hlo(mutant, name)
            except DispatchGymError as error:
                said = str(error)
                assert "\n" not in said
                assert len(said) < 400
                ends["refused"] += 1
            except Exception as error:
                pytest.fail(f"{name}, seed {seed}: {type(error).__name__}: {error}")
            else:
                ends["read"] += 1
    assert ends["read"] > 100
    assert ends["refused"] > 1000


def nested(depth: int) -> str:
    """A parameter of tuples in tuples."""
    shape = "(" * depth + "f32[9]" + ")" * depth
    return f"ENTRY %main (x: f32[9]) -> f32[9] {{\n  ROOT %x = {shape} parameter(0)\n}}\n"


CIRCLE = """
%one (a: f32[512,512]) -> f32[512,512] {
  %a = f32[512,512]{1,0} parameter(0)
  ROOT %b = f32[512,512]{1,0} call(%a), to_apply=%two
}

%two (a: f32[512,512]) -> f32[512,512] {
  %a = f32[512,512]{1,0} parameter(0)
  ROOT %b = f32[512,512]{1,0} call(%a), to_apply=%one
}

ENTRY %main (x: f32[512,512]) -> f32[512,512] {
  %x = f32[512,512]{1,0} parameter(0)
  ROOT %y = f32[512,512]{1,0} call(%x), to_apply=%one
}
"""
LABELS = ", dim_labels=b01f_01io->b01f"


def ever_more(depth: int) -> str:
    """Computations that each call the one before twice, and do nothing."""
    x = "  %x = f32[512,512]{1,0} parameter(0)\n"
    parts = [f"%c0 (x: f32[512,512]) -> f32[512,512] {{\n{x}  ROOT %y = f32[512,512]{{1,0}} bitcast(%x)\n}}\n"]
    for k in range(depth):
        once = f"f32[512,512]{{1,0}} call(%x), to_apply=%c{k}"
        head = f"%c{k + 1}" if k + 1 < depth else "ENTRY %main"
        parts.append(f"{head} (x: f32[512,512]) -> f32[512,512] {{\n{x}  %y = {once}\n  ROOT %z = {once}\n}}\n")
    return "\n".join(parts)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (DOT.replace("multiply(%f, %f)", "multiply(%f, %g)"), "instruction 's' takes 'g', which is not above it in"),
        (DOT.replace("%s = f32", "%f = f32"), "computation 'main' has two instructions 'f'; give each its own name"),
        (DOT.replace("ENTRY %main", "%fused"), "there are two computations 'fused'; give each its own name"),
        (DOT.replace("%bc =", "ROOT %bc ="), "computation 'main' has two roots"),
        (DOT.replace("parameter(1)", "parameter(2)"), "computation 'fused' has the parameters 0, 2; number them 0, 1"),
        (DOT.replace("parameter(1)", "parameter(x)"), "computation 'fused' has the parameters 0, x; number them"),
        (DOT.replace("fusion(%x, /*index=1*/%y)", "fusion(%x)"), "'f' has 1 operands for the 2 parameters of 'fused'"),
        (DOT.replace("lhs_contracting_dims={1}", "lhs_contracting_dims={7}"), "instruction 'd' (dot) lacks an operand"),
        (DOT.replace("slice(%bc)", "slice()"), "instruction 'r' (slice) lacks an operand or attribute, or has one"),
        (DOT.replace("f32[256]{0} slice", "slice"), "instruction 'r': 'slice={[0:256]}' is no operation"),
        (DOT.replace("f32[256]{0} slice", "f32[-256]{0} slice"), "instruction 'r': 'f32[-256]{0}' is no shape"),
        (DOT.replace("f32[65536]", "f32[9999999,9999999999]"), "instruction 'bc': 'f32[9999999,9999999999]{0}' has more"),
        (DOT.replace("f32[256]{0}) tuple(%s, %r)", "f32[256]{0}) tuple(%s)"), "instruction 't' (tuple) gives other arrays"),
        (DOT[: DOT.rindex("}")], "computation 'main' has no end; give the whole text"),
        ("%f () -> f32[] {\n}\n" + DOT, "computation 'f' has no instructions"),
        (LOOP.replace("index=2", "index=3"), "instruction 'w' takes part 3 of a tuple that has no such part"),
        (LOOP.replace(", index=2", ""), "instruction 'w' (get-tuple-element) lacks an operand or attribute"),
        (LOOP.replace("while(%t)", "while()"), "instruction 'loop' (while) lacks an operand or attribute"),
        (LOOP.replace("tuple(%j, %n, %w)", "tuple(%j, %n)"), "instruction 'r' (tuple) gives other arrays than its shape"),
        (LOOP.replace("body=%body", "body=%fall"), "instruction 'loop' names no computation as body"),
        (CONVOLUTION.replace(LABELS, ""), "instruction 'c' (convolution) lacks an operand or attribute"),
        (CONVOLUTION.replace("pad=", "stride=0x1 pad="), "instruction 'c' moves a window of 3 to 8 places, at strides of 0"),
        (CONVOLUTION.replace("size=3x3", "size=3000000x3"), "instruction 'c' moves a window of 3000000 to 8 places"),
        (CIRCLE, "computation 'one' calls itself"),
        (nested(5000), "instruction 'x': a tuple is nested more than 100 times"),
        (nested(3), "parameter 'x' is a tuple; compile a function of arrays"),
        (ever_more(40), "the program runs more than 262144 instructions; unroll less, or cut it"),
    ],
)  # fmt: skip
def test_the_instruction_or_computation_is_named(body: str, said: str) -> None:
    with pytest.raises(InstanceError) as caught:
        from_hlo(f"{HEADER}\n\n{body}", "test")
    assert said in str(caught.value)
    assert str(caught.value).startswith("program 'test': ")
    assert "\n" not in str(caught.value)


def test_arguments_that_are_none_are_refused() -> None:
    for arguments, said in (
        ((None, "test"), "a NoneType is no text; give that of a compiled HLO module"),
        ((b"HloModule", "test"), "a bytes is no text"),
        ((DOT, ""), "name is ''; give a text"),
        ((DOT, "test", 0), "unroll is 0; give an integer in 1..4096"),
        ((DOT, "test", 64, 8), "float32 is 8; give an integer in 1..4"),
        ((f"{HEADER}\n{DOT}\ud800", "test"), "the text has half a character"),
        ((f"{HEADER}, input_output_alias={{ {{5}}: (0, {{}}) }}\n{DOT}", "test"), "donates parameter 0 of 2 to result 5 of 2"),
        ((f"{HEADER}, input_output_alias={{ {{0}}: (9, {{}}) }}\n{DOT}", "test"), "donates parameter 9 of 2 to result 0 of 2"),
    ):  # fmt: skip
        with pytest.raises(InstanceError, match=re.escape(said)):
            from_hlo(*arguments)
