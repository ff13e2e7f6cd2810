"""Job-shop files: round trips, what is tolerated, and errors that name file and line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.job_shop import JobShopInstance, load, named
from dispatchgym.instances.job_shop.formats import (
    MAX_BYTES,
    PARSERS,
    detect,
    parse_standard,
    parse_taillard,
    write_standard,
    write_taillard,
)

OWN_STYLE = """Nb of jobs, Nb of Machines, Time seed, Machine seed, Upper bound, Lower bound
           2           3   840612802   398197754        1247         977
Times
 94 66 10
 53 26 15
Machines
 2 1 3
 3 2 1
"""
OWN_JOBS = [[(1, 94), (0, 66), (2, 10)], [(2, 53), (1, 26), (0, 15)]]

ragged = st.integers(1, 5).flatmap(
    lambda machines: st.lists(
        st.lists(st.tuples(st.integers(0, machines - 1), st.integers(0, 10**6)), min_size=1, max_size=7),
        min_size=1,
        max_size=6,
    )
)
rectangular = st.tuples(st.integers(1, 6), st.integers(1, 5)).flatmap(
    lambda size: st.lists(
        st.tuples(
            st.permutations(range(size[1])),
            st.lists(st.integers(0, 10**6), min_size=size[1], max_size=size[1]),
        ).map(lambda job: list(zip(*job, strict=True))),
        min_size=size[0],
        max_size=size[0],
    )
)


@settings(max_examples=60, deadline=None)
@given(ragged, st.sampled_from([0, 1]))
def test_standard_round_trip(jobs, base: int) -> None:
    text = write_standard(JobShopInstance.from_jobs(jobs), base)
    assert parse_standard(text, base).jobs() == jobs


@settings(max_examples=60, deadline=None)
@given(rectangular, st.sampled_from([0, 1, None]), st.sampled_from([0, 1]))
def test_both_formats_round_trip_with_detection(jobs, base: int | None, written: int) -> None:
    instance = JobShopInstance.from_jobs(jobs)
    if base is not None:
        base = written
    for parse, text in (
        (parse_standard, write_standard(instance, written)),
        (parse_taillard, write_taillard(instance, written)),
    ):
        assert parse(text, base).jobs() == jobs
        assert PARSERS[detect(text)] is parse


@settings(max_examples=40, deadline=None)
@given(ragged, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.integers(0, 6))
def test_comments_blank_lines_line_ends_and_bom_change_nothing(jobs, end: str, bom: bool, at: int) -> None:
    lines = write_standard(JobShopInstance.from_jobs(jobs)).splitlines()
    lines[at:at] = ["", "  # größe 7 \u2028 \x0c", "\t"]
    lines[-1] += "   # the last job"
    assert parse_standard("\ufeff" * bom + end.join(lines), base=0).jobs() == jobs


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123 -#\n\rxTMé\ufeff\x00.", max_size=60), st.sampled_from(sorted(PARSERS)))
def test_any_text_is_read_or_refused_in_one_line(text: str, format: str) -> None:
    try:
        PARSERS[format](text, None, "x.txt")
    except InstanceError as error:
        message = str(error)
    else:
        return
    assert message.startswith("x.txt, line ")
    assert "\n" not in message


def test_taillards_own_files() -> None:
    assert detect(OWN_STYLE) == "taillard"
    assert parse_taillard(OWN_STYLE).jobs() == OWN_JOBS
    bare = "2 3\n94 66 10\n53 26 15\n2 1 3\n3 2 1\n"
    assert detect(bare) == "taillard"
    assert parse_taillard(bare).jobs() == OWN_JOBS


def test_published_instances_survive_both_formats() -> None:
    for name in ("ft06", "ta01", "dmu80", "orb07"):
        instance = named(name).instance
        assert parse_standard(write_standard(instance)).jobs() == instance.jobs()
        assert parse_taillard(write_taillard(instance)).jobs() == instance.jobs()


def test_padding_is_not_written() -> None:
    instance = JobShopInstance.from_jobs([[(0, 3), (1, 0)], [(1, 4)]])
    padded = instance.pad(instance.size._replace(jobs=4, operations=5, machines=6))
    assert write_standard(padded) == write_standard(instance) == "2 2\n0 3 1 0\n1 4\n"


def test_base_detection() -> None:
    assert parse_standard("1 3\n0 5 1 6\n").jobs() == [[(0, 5), (1, 6)]]
    assert parse_standard("1 3\n1 5 3 6\n").jobs() == [[(0, 5), (2, 6)]]
    assert parse_standard("1 3\n1 5 2 6\n").jobs() == [[(1, 5), (2, 6)]]  # ambiguous: from 0
    assert parse_taillard("2 2\n5 6\n5 6\n1 1\n1 1\n").jobs() == [[(0, 5), (0, 6)]] * 2  # ambiguous: from 1
    assert parse_taillard("2 2\n5 6\n5 6\n0 1\n1 0\n").jobs() == [[(0, 5), (1, 6)], [(1, 5), (0, 6)]]


STANDARD_ERRORS = [
    ("", 1, "no numbers"),
    ("# only\n\n# words\n", 4, "no numbers"),
    ("ft06\n1 1\n0 5\n", 1, "'ft06' is not an integer"),
    ("1\n0 5\n", 1, "the header has 1 numbers"),
    ("1 1 9\n0 5\n", 1, "the header has 3 numbers"),
    ("0 1\n", 1, "announces 0 jobs"),
    ("1 -2\n0 5\n", 1, "announces -2 machines"),
    ("99999999999 2\n0 5\n", 1, "announces 99999999999 jobs"),
    ("4194304 2\n0 5\n", 1, "4194304 jobs x 2 machines are too many"),
    ("\n# c\n2 2\n0 5 1 5\n", 4, "ends after 1 of 2 jobs"),
    ("1 2\n0 5\n1 5\n", 3, "'1 5' follows the last of 1 jobs"),
    ("2 2\n0 5 1\n1 5\n", 2, "3 numbers"),
    ("2 2\n0 5\n1 x\n", 3, "'x' is not an integer"),
    ("2 2\n0 5\n1 5.5\n", 3, "'5.5' is not an integer"),
    ("2 2\n0 5\n1 \u0665\n", 3, "is not an integer"),
    ("2 2\n0 5\n1 1_0\n", 3, "'1_0' is not an integer"),
    ("2 2\n0 5\n1 -5\n", 3, "duration -5 is out of range"),
    ("2 2\n0 5\n1 " + "9" * 5000 + "\n", 3, "'999999999999999999999...' is too large"),
    (f"2 2\n0 5\n1 {2**62}\n", 3, f"duration {2**62} is out of range"),
    (f"2 2\n0 {2**23}\n1 {2**23}\n", 3, f"the durations add up to {2**24}"),
    ("2 2\n0 5\n\n2 5\n", 4, "machine 2 is out of range; with 2 machines counted from 0 it must be 0..1"),
    ("2 2\n0 5\n-1 5\n", 3, "machine -1 is out of range"),
    ("2 2\r\n0 5\r\n7 5\r\n", 3, "machine 7"),
]


@pytest.mark.parametrize(("text", "line", "problem"), STANDARD_ERRORS)
def test_standard_errors_name_the_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(InstanceError) as caught:
        parse_standard(text, source="shop.txt")
    assert str(caught.value).startswith(f"shop.txt, line {line}: ")
    assert problem in str(caught.value)
    assert "; " in str(caught.value)  # the remedy


TAILLARD_ERRORS = [
    ("Nb of jobs\n", 1, "the header has no numbers"),
    (OWN_STYLE.replace(" 53 26 15\n", ""), 5, "'Machines' is not an integer"),
    (OWN_STYLE.replace("26 15", "26"), 5, "2 durations of job 1 instead of 3"),
    (OWN_STYLE.replace(" 3 2 1\n", ""), 7, "the file ends after 1 of 2 lines of machines"),
    (OWN_STYLE.replace("3 2 1\n", "3 2 4\n"), 8, "machine 4 is out of range"),
    (OWN_STYLE.replace("3 2 1\n", "3 0 1\n"), 7, "machine 3 is out of range"),
    (OWN_STYLE.replace("53", "-53"), 5, "duration -53"),
    (OWN_STYLE.replace("53", str(2**62)), 5, f"duration {2**62}"),
    (OWN_STYLE + OWN_STYLE, 9, "follows the last matrix"),
    (OWN_STYLE.replace("Times", "Machines"), 3, "'Machines' is not an integer"),
]


@pytest.mark.parametrize(("text", "line", "problem"), TAILLARD_ERRORS)
def test_taillard_errors_name_the_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(InstanceError) as caught:
        parse_taillard(text, source="tai.txt")
    assert str(caught.value).startswith(f"tai.txt, line {line}: ")
    assert problem in str(caught.value)


def test_ragged_files_that_would_need_too_much_memory_are_refused() -> None:
    with pytest.raises(InstanceError, match="line 2: 2049 jobs of up to 2050 operations are too many"):
        parse_standard("2049 1\n" + "0 1 " * 2050 + "\n" + "0 1\n" * 2048)


def test_a_wrong_base_is_named() -> None:
    with pytest.raises(InstanceError, match="line 2: machine 0 is out of range; with 2 machines counted from 1"):
        parse_standard("1 2\n0 5 1 5\n", base=1)
    with pytest.raises(InstanceError, match="machine base 2 is not known"):
        parse_standard("1 2\n0 5 1 5\n", base=2)


def test_taillards_format_refuses_ragged_shops() -> None:
    for jobs in ([[(0, 1), (1, 1)], [(0, 1)]], [[(0, 1), (0, 1), (1, 2)]]):
        with pytest.raises(InstanceError, match="cannot hold; use write_standard"):
            write_taillard(JobShopInstance.from_jobs(jobs))


def test_load_detects_format_and_base(tmp_path: Path) -> None:
    instance = named("ft06").instance
    for write in (write_standard, write_taillard):
        for base in (0, 1):
            file = tmp_path / f"größe {base}.jsp"
            file.write_bytes(b"\xef\xbb\xbf" + write(instance, base).replace("\n", "\r\n").encode())
            assert load(file).jobs() == instance.jobs()
            assert load(str(file), base=base).jobs() == instance.jobs()
    assert load(file, format="taillard").jobs() == instance.jobs()
    with pytest.raises(UnknownNameError, match="unknown format 'tailard'; did you mean 'taillard'"):
        load(file, format="tailard")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "shop.txt"

    def refused(data: bytes, problem: str) -> None:
        file.write_bytes(data)
        with pytest.raises(InstanceError, match=problem) as caught:
            load(file)
        assert str(caught.value).startswith(str(file))
        assert "\n" not in str(caught.value)

    refused(b"", "line 1: the file holds no numbers")
    refused(b"1 1\n0 \xff\n", "line 2: byte 0xff is not UTF-8; save the file as UTF-8 text")
    refused("1 1\n0 5\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8")
    refused(b"1 1\n\0\0", "line 2: this is a binary file")
    refused(b"2 2\n0 5 1 5\n", "line 2: the file ends after 1 of 2 jobs")
    with file.open("wb") as sparse:
        sparse.truncate(MAX_BYTES + 1)
    with pytest.raises(InstanceError, match=f"larger than {MAX_BYTES} bytes"):
        load(file)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.txt", tmp_path, tmp_path / ("x" * 5000), "a\0b", tmp_path / "two\nlines"):
        with pytest.raises(InstanceError) as caught:
            load(path)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InstanceError, match="no such file"):
        load(tmp_path / "pipe")
