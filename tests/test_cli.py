"""The command line: its documents, its exit statuses, and one clear line for whatever is wrong with the input."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax
import pytest
from toys import Toll, toy

from dispatchgym import cli
from dispatchgym.envs.registry import REGISTRY
from dispatchgym.eval.validators.base import Verdict
from dispatchgym.instances.job_shop import coerce
from dispatchgym.testing import CheckError, Report, Result

JOB_SHOP = "dispatchgym/JobShop-v0"
FT06 = ("--env", JOB_SHOP, "--instance", "ft06")


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def compilations(monkeypatch):
    """The verbs keep to the compilation cache of the tests."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the console script's function in this process."""

    def call(*args: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["dispatchgym", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(ended.value.code or 0, *capsys.readouterr())

    return call


@pytest.fixture
def refused(run):
    """Run, and return the one line that explains exit status 2."""

    def call(*args: object) -> str:
        ended = run(*args)
        assert ended.status == 2, ended
        assert ended.out == ""
        assert ended.err.startswith("dispatchgym: ")
        assert ended.err.count("\n") == 1, ended.err
        return ended.err

    return call


def subprocess_of(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("args", [["--help"], ["eval", "--help"], ["envs", "--json"]])
def test_starts_without_the_heavy_packages(args):
    unwanted = ["torch", "jax", "matplotlib", "ray", "stable_baselines3", "ortools"]
    done = subprocess_of(f"""
        import sys
        sys.argv = ["dispatchgym", *{args!r}]
        from dispatchgym.cli import main
        try:
            main()
        finally:
            loaded = [name for name in {unwanted!r} if name in sys.modules]
            assert not loaded, loaded
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("package", "args", "hint"),
    [
        (
            "typer",
            ["--help"],
            'the command line needs the package typer; install it with pip install "dispatchgym[cli]"',
        ),
        (
            "ortools",
            ["eval", *FT06, "--policy", "cp_sat"],
            'needs ortools; install it with pip install "dispatchgym[exact]"',
        ),
        (
            "torch",
            ["train", "--env", JOB_SHOP, "--algo", "ppo"],
            'needs torch; install it with pip install "dispatchgym[train]"',
        ),
        ("torch", ["eval", *FT06, "--policy", "/"], 'needs torch; install it with pip install "dispatchgym[train]"'),
    ],
)
def test_a_missing_extra_is_named(package, args, hint):
    done = subprocess_of(f"""
        import sys
        sys.modules[{package!r}] = None  # importing it raises ModuleNotFoundError
        sys.argv = ["dispatchgym", *{args!r}]
        from dispatchgym.cli import main
        main()
    """)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert hint in done.stderr
    assert done.stderr.count("\n") == 1


def test_envs(run):
    listed = json.loads(run("envs", "--json").out)
    assert [row["env"] for row in listed] == list(REGISTRY)
    assert JOB_SHOP in run("envs").out


def test_suites(run):
    listed = {row["suite"]: row for row in json.loads(run("suites", "--env", JOB_SHOP, "--json").out)}
    assert listed["taillard"]["instances"] == 80
    assert listed["ft"]["optimal_known"] == 3
    assert "taillard-15x15" in run("suites").out


def test_policies(run):
    listed = {row["policy"]: row for row in json.loads(run("policies", "--env", JOB_SHOP, "--json").out)}
    assert listed["fdd_mwkr"]["kind"] == "rule"
    assert listed["fdd_mwkr"]["options"] == "scheme=non_delay"
    assert listed["cp_sat"]["kind"] == "solver"
    assert "shifting_bottleneck" in run("policies").out


def test_an_environment_of_ones_own_may_have_neither_suites_nor_policies(run):
    env_id = toy(Toll)
    assert json.loads(run("suites", "--env", env_id, "--json").out) == []
    assert json.loads(run("policies", "--env", env_id, "--json").out) == []


def test_the_document_of_eval(run):
    ended = run("eval", "--env", JOB_SHOP, "--suite", "ft", "--policy", "fdd_mwkr", "--json")
    assert ended.status == 0
    assert ended.out.count("\n") == 1  # nothing but the document
    report = json.loads(ended.out)
    assert list(report) == ["env", "policy", "suite", "mode", "instances", "summary", "metrics"]
    assert list(report["summary"]) == ["count", "valid", "mean_objective", "mean_score", "mean_gap", "ci95", "metrics"]
    for row in report["instances"]:
        assert list(row) == ["instance", "objective", "reference", "score", "gap", "valid", "seconds"]
        assert row["score"] == pytest.approx(row["reference"] / row["objective"])
        assert row["gap"] == pytest.approx(row["objective"] / row["reference"] - 1)
    first, summary = report["instances"][0], report["summary"]
    assert (report["env"], report["policy"], report["suite"]) == (JOB_SHOP, "fdd_mwkr", "ft")
    assert report["mode"] == "deterministic"
    assert (first["instance"], first["objective"], first["reference"], first["valid"]) == ("ft06", 67, 55, True)
    assert (summary["count"], summary["valid"]) == (3, 3)
    assert summary["ci95"][0] <= summary["mean_gap"] <= summary["ci95"][1]


@pytest.mark.parametrize(
    ("policy", "options", "makespan", "scheme"),
    [
        ("fdd_mwkr", (), 67, "non_delay"),
        ("spt", (), 88, "non_delay"),
        ("fdd_mwkr", ("-o", "scheme=giffler_thompson"), 62, "giffler_thompson"),
    ],
)
def test_published_makespans(run, policy, options, makespan, scheme):
    report = json.loads(run("eval", *FT06, "--policy", policy, *options, "--json").out)
    assert report["instances"][0]["objective"] == makespan
    assert report["metrics"]["options"]["scheme"] == scheme


def test_eval_for_people(run):
    ended = run("eval", *FT06, "--policy", "spt", "--quiet")
    assert ended.status == 0
    assert "60.00 %" in ended.out
    assert "scheme=non_delay" in ended.out


def test_the_document_of_a_comparison(run):
    ended = run("eval", "--env", JOB_SHOP, "--suite", "ft", "--policy", "fdd_mwkr", "--against", "rules", "--json")
    assert ended.status == 0
    assert ended.out.count("\n") == 1
    assert ended.err == ""
    found = json.loads(ended.out)["comparison"]
    assert list(found) == ["measure", "unit", "sense", "policy", "methods", "classes", "all"]
    assert (found["measure"], found["sense"], found["policy"]["name"]) == ("objective", "min", "fdd_mwkr")
    assert list(found["methods"]) == ["spt", "lpt", "fifo", "mwkr", "lwkr", "mopnr", "lopnr", "random"]
    assert found["policy"]["values"][0] == 67
    spt, all_spt = found["classes"]["6x6"]["methods"]["spt"], found["all"]["methods"]["spt"]
    assert (spt["instances"], spt["mean"], spt["ci95"], spt["verdict"]) == (1, 88.0, None, None)
    assert spt["difference"] == pytest.approx(67 / 88 - 1)
    low, high = all_spt["difference_ci95"]
    assert low <= all_spt["difference"] <= high
    assert found["classes"]["20x5"]["best_rule"] == "spt"


def test_a_comparison_for_people(run):
    ended = run("eval", *FT06, "--policy", "fdd_mwkr", "--against", "spt", "--against", "mwkr", "--quiet")
    assert ended.status == 0
    assert "fdd_mwkr against 2 methods" in ended.out
    assert "all: mwkr (+9.84 %)" in ended.out  # 67 / 61
    assert ended.err == ""


def test_streams_are_compared_by_mean_latency(run):
    env = ("--env", "dispatchgym/SocDag-v0", "--instance", "top1-closed-n0")
    ended = run("eval", *env, "--policy", "met", "--against", "etf_ds3", "--json")
    report = json.loads(ended.out)
    found = report["comparison"]
    assert ended.status == 0
    assert report["instances"][0]["objective"] == 11067
    assert report["instances"][0]["metrics"]["mean_latency"] == pytest.approx(110.67)
    assert report["summary"]["metrics"]["p95"] >= report["summary"]["metrics"]["p50"]
    assert report["metrics"]["classes"]["top1-closed, noise 0"]["metrics"] == report["summary"]["metrics"]
    assert (found["measure"], found["unit"]) == ("mean_latency", "us")
    assert found["all"]["methods"]["etf_ds3"]["mean"] == pytest.approx(109.68)
    assert found["all"]["methods"]["etf_ds3"]["difference"] == pytest.approx(11067 / 10968 - 1)
    shown = run("eval", *env, "--policy", "met", "--against", "etf_ds3", "--quiet").out
    for text in ("109.7", "+0.90 %", "throughput", "A rule is ahead of met"):
        assert text in shown


def test_solvers_state_bound_and_status(run):
    report = json.loads(run("eval", *FT06, "--policy", "cp_sat", "--time-limit", 60, "--json").out)
    row = report["instances"][0]
    assert report["mode"] == "solver, 60 s"
    assert (row["objective"], row["bound"], row["status"]) == (55, 55, "optimal")


def test_samples_depend_on_the_seed_alone(run):
    def best(seed: int) -> dict:
        report = json.loads(run("eval", *FT06, "--policy", "random", "--samples", 4, "--seed", seed, "--json").out)
        assert report["mode"] == "best-of-4"
        return report["instances"][0]["objective"]

    assert best(1) == best(1)
    assert best(2) >= 55


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("eval", "--env", "dispatchgym/JobShp-v0", "--instance", "ft06", "--policy", "spt"),
            f"did you mean '{JOB_SHOP}'",
        ),
        (("eval", "--env", JOB_SHOP, "--suite", "taillard-15x16", "--policy", "spt"), "did you mean 'taillard-15x15'"),
        (("eval", "--env", JOB_SHOP, "--suite", "qqq", "--policy", "spt"), "list them with `dispatchgym suites`"),
        (("eval", "--env", JOB_SHOP, "--instance", "ft6", "--policy", "spt"), "did you mean 'ft06'"),
        (("eval", *FT06, "--policy", "fdd_mkwr"), "did you mean 'fdd_mwkr'"),
        (("eval", *FT06, "--policy", "qqq"), "list them with `dispatchgym policies`"),
        (("eval", *FT06, "--policy", "runs/none"), "no checkpoint folder runs/none"),
        (("eval", *FT06, "--policy", "."), "holds no policy.safetensors"),
        (("eval", *FT06, "--policy", "spt", "-o", "shceme=non_delay"), "did you mean 'scheme'"),
        (("eval", *FT06, "--policy", "spt", "-o", "scheme=non_dely"), "non_delay"),
        (("eval", *FT06, "--policy", "spt", "-o", "scheme"), "'scheme' is not KEY=VALUE"),
        (("eval", *FT06, "--policy", "spt", "-o", "=non_delay"), "is not KEY=VALUE"),
        (("eval", *FT06, "--policy", "spt", "-o", "scheme={"), "is no YAML"),
        (("train", "--env", JOB_SHOP, "--algo", "pppo"), "did you mean 'ppo'"),
        (
            ("train", "--env", JOB_SHOP, "--algo", "ppo", "--config", "no_such_preset"),
            "unknown preset 'no_such_preset'",
        ),
        (("train", "--env", JOB_SHOP, "--algo", "self_labelling", "--set", "itertions=3"), "did you mean 'iterations'"),
        (("train", "--env", JOB_SHOP, "--algo", "self_labelling", "--set", "iterations=many"), "must be of type int"),
        (("check", "dispatchgym/JobShop-v1"), f"did you mean '{JOB_SHOP}'"),
        (("check", "mine/Toy-v0", "--import", "no_such_module"), "cannot import 'no_such_module'"),
        (("eval", *FT06, "--policy", "spt", "--import", "no_such_module"), "cannot import 'no_such_module'"),
        (("replay", "trace.json", "--import", "no_such_module"), "cannot import 'no_such_module'"),
        (
            ("train", "--env", JOB_SHOP, "--algo", "ppo", "--import", "no_such_module"),
            "cannot import 'no_such_module'",
        ),
        (("eval", "--env", JOB_SHOP, "--policy", "spt"), "pass either --suite or --instance"),
        (("eval", *FT06, "--suite", "ft", "--policy", "spt"), "pass either --suite or --instance"),
        (("eval", *FT06, "--policy", "random", "--samples", 0), "give at least 1"),
        (("eval", *FT06, "--policy", "spt", "--samples", 2), "deterministic"),
        (("eval", *FT06, "--policy", "spt", "--time-limit", 1), "is no solver"),
        (("eval", *FT06, "--policy", "insa", "--samples", 2), "is a solver"),
        (("eval", *FT06, "--policy", "insa", "-o", "scheme=non_delay"), "takes no --option"),
        (("eval", *FT06, "--policy", "cp_sat", "--time-limit", 0), "seconds above 0"),
        (("eval", *FT06, "--policy", "cp_sat", "--time-limit", "nan"), "seconds above 0"),
        (("eval", *FT06, "--policy", "brute_force"), "tiny instances only"),
        (("eval", *FT06, "--policy", "spt", "--against", "fdd_mkwr"), "did you mean 'fdd_mwkr'"),
        (("eval", *FT06, "--policy", "spt", "--against", "spt"), "is the policy itself"),
        (("eval", *FT06, "--policy", "spt", "--against", "random", "--time-limit", 1), "is no solver"),
        (("replay", "no-such-trace.json"), "cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_status_2(refused, args, message):
    assert message in refused(*args)


@pytest.mark.parametrize("args", [("evaluate",), ("eval",), ("eval", *FT06, "--policy", "random", "--seed", -1), ()])
def test_misuse_prints_the_usage(run, args):
    ended = run(*args)
    assert ended.status == 2
    assert "Traceback" not in ended.out + ended.err
    assert "dispatchgym" in ended.out + ended.err


def test_a_place_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused(
        "eval", *FT06, "--policy", "spt", "--quiet", "--save-traces", tmp_path / "file"
    )


@pytest.mark.parametrize("judged", [Verdict.refuse("machine 2 is busy"), Verdict(True, 54)])
def test_a_result_the_validator_refuses_is_status_1(run, monkeypatch, judged):
    monkeypatch.setattr("dispatchgym.eval.validators.job_shop.validate", lambda *_: judged)
    ended = run("eval", *FT06, "--policy", "spt", "--json")
    row, summary = json.loads(ended.out)["instances"][0], json.loads(ended.out)["summary"]
    assert ended.status == 1
    assert (row["valid"], row["objective"], row["score"], row["gap"]) == (False, None, 0.0, None)
    assert row["errors"][0] in ("machine 2 is busy", "claims 88, the validator finds 54")
    assert (summary["valid"], summary["mean_score"], summary["mean_objective"]) == (0, 0.0, None)
    assert run("eval", *FT06, "--policy", "spt", "--quiet").status == 1


@pytest.fixture
def recorded(run, tmp_path) -> dict:
    """A genuine trace of ft06, as written by ``eval``."""
    assert run("eval", *FT06, "--policy", "fdd_mwkr", "--save-traces", tmp_path / "traces", "--json").status == 0
    (path,) = (tmp_path / "traces").iterdir()
    assert path.name == "ft06.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_traces_of_one_name_are_numbered(run, tmp_path):
    for name in ("a/x.txt", "a_x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("2 2\n0 3 1 2\n1 4 0 1\n")
    files = (str(tmp_path / "a/x.txt"), str(tmp_path / "a_x.txt"), "ft06", "ft06", "ft06")
    instances = [word for file in files for word in ("--instance", file)]
    traces = tmp_path / "traces"
    run("eval", "--env", JOB_SHOP, *instances, "--policy", "spt", "--save-traces", traces, "--json")
    names = sorted(path.name for path in traces.iterdir())
    assert names[-3:] == ["ft06-2.json", "ft06-3.json", "ft06.json"]
    assert [name.endswith(("a_x.txt.json", "a_x.txt-2.json")) for name in names[:2]] == [True, True]
    assert len(names) == 5


def test_a_trace_of_an_environment_with_instances_elsewhere(monkeypatch, replay, recorded):
    elsewhere = ModuleType("elsewhere")
    elsewhere.coerce = lambda name: coerce("ft06" if name == "mine" else name)
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    monkeypatch.setitem(REGISTRY, "mine/Shop-v0", replace(REGISTRY[JOB_SHOP], id="mine/Shop-v0", instances="elsewhere"))
    mine = recorded | {"env_id": "mine/Shop-v0", "instance": "mine"}
    assert replay(mine, "--import", "elsewhere").status == 0


@pytest.fixture
def replay(run, tmp_path):
    def call(trace: dict | str, *args: object) -> Ended:
        path = tmp_path / "trace.json"
        path.write_text(trace if isinstance(trace, str) else json.dumps(trace), encoding="utf-8")
        return run("replay", path, *args)

    return call


def test_a_trace_replays(replay, recorded, tmp_path):
    ended = replay(recorded, "--json", "--svg", tmp_path / "gantt.svg")
    answer = json.loads(ended.out)
    assert ended.status == 0
    assert (answer["claimed"], answer["environment"], answer["validator"], answer["agrees"]) == (67, 67, 67, True)
    assert answer["errors"] == []
    assert (tmp_path / "gantt.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "agrees" in replay(recorded).out


def _swapped(trace: dict) -> dict:
    """Two decisions that differ, exchanged: another schedule, or an illegal one."""
    actions = trace["actions"]
    at = next(i for i in range(len(actions) - 1) if actions[i] != actions[i + 1])
    return trace | {
        "actions": [*actions[:at], actions[at + 1], actions[at], *actions[at + 2 :]],
        "final": {"objective": 66},
    }


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        (lambda t: t | {"final": {"objective": 66}}, "the trace claims 66, it is 67"),
        (_swapped, ""),
        (lambda t: t | {"actions": t["actions"][:-1]}, "not finished"),
        (lambda t: t | {"actions": []}, "not finished"),
        (lambda t: t | {"actions": [*t["actions"], 0]}, "action 36 is illegal"),
        (lambda t: t | {"actions": [99, *t["actions"][1:]]}, "action 0 is illegal"),
        (lambda t: t | {"actions": [-1, *t["actions"][1:]]}, "action 0 is illegal"),
        (lambda t: t | {"actions": [2**32 + t["actions"][0], *t["actions"][1:]]}, "action 0 is illegal"),
        (lambda t: t | {"actions": [10**400, *t["actions"][1:]]}, "action 0 is illegal"),
    ],
)
def test_a_tampered_episode_is_status_1(replay, recorded, tamper, complaint):
    ended = replay(tamper(recorded), "--json")
    answer = json.loads(ended.out)
    assert ended.status == 1, answer
    assert not answer["agrees"]
    assert any(complaint in error for error in answer["errors"]) or answer["environment"] is None
    assert replay(tamper(recorded)).status == 1


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        (lambda t: t | {"instance": "ft10"}, "is not the recorded one"),
        (lambda t: t | {"instance": "ft6"}, "did you mean 'ft06'"),
        (lambda t: t | {"instance": "/no/such/file.txt"}, "no such file"),
        (lambda t: t | {"instance_sha256": "0" * 64}, "is not the recorded one"),
        (lambda t: t | {"env_id": "dispatchgym/JobShop-v9"}, f"did you mean '{JOB_SHOP}'"),
        (lambda t: t | {"actions": [0.0, *t["actions"][1:]]}, "list of at most"),
        (lambda t: t | {"actions": [True, *t["actions"][1:]]}, "list of at most"),
        (lambda t: t | {"actions": "0123"}, "list of at most"),
        (lambda t: json.dumps(t).replace("[0,", "[NaN,", 1).replace("[2,", "[NaN,", 1), "list of at most"),
        (lambda t: t | {"final": {"objective": float("nan")}}, "must be an integer"),
        (lambda t: t | {"final": {"objective": "67"}}, "must be an integer"),
        (lambda t: t | {"final": [67]}, "is no trace"),
        (lambda t: t | {"reset": {}}, "is no trace"),
        (lambda t: t | {"reset": {"options": {"scheme": "fastest"}}}, "fastest"),
        (lambda t: t | {"reset": {"options": {"scheme": ["non_delay"]}}}, "non_delay"),
        (lambda t: t | {"reset": {"options": {"colour": 1}}}, "unknown option 'colour'"),
        (lambda t: {k: v for k, v in t.items() if k != "actions"}, "is no trace"),
        (lambda t: json.dumps(t)[:-20], "is no trace"),
        (lambda t: f'{{"actions": [{"9" * 5000}]}}', "is no trace"),
        (lambda t: "[" * 100_000, "is no trace"),
        (lambda t: '{"actions":' + "[" * 100_000 + "]" * 100_000 + "}", "is no trace"),
        (lambda t: "[]", "is no trace"),
        (lambda t: "", "is no trace"),
    ],
)
def test_what_is_no_trace_of_this_instance_is_status_2(replay, recorded, tamper, complaint):
    ended = replay(tamper(recorded))
    assert ended.status == 2
    assert complaint in ended.err
    assert ended.err.startswith("dispatchgym: ")
    assert ended.err.count("\n") == 1
    assert ended.out == ""


def test_a_trace_that_is_no_text(run, tmp_path):
    (tmp_path / "trace.json").write_bytes(b"\xff\xfe\x00")
    assert run("replay", tmp_path / "trace.json").status == 2
    assert run("replay", tmp_path).status == 2


def test_the_instance_of_a_trace_may_be_passed(replay, recorded):
    assert replay(recorded | {"instance": "gone"}, "--instance", "ft06").status == 0
    assert replay(recorded, "--instance", "ft10").status == 2


@pytest.mark.parametrize("outcome", ["ok", "failed"])
def test_check_reports(run, monkeypatch, outcome):
    report = Report(
        JOB_SHOP, (Result("masks", outcome, "why [not]", 0.1, "the rule"), Result("jit", "ok", "", 0.1, "a rule"))
    )

    def check(env_id: str, **options: object) -> Report:
        assert options == {"scheme": "non_delay"}
        if not report.ok:
            raise CheckError(report)
        return replace(report, env_id=env_id)

    monkeypatch.setattr("dispatchgym.testing.check", check)
    ended = run("check", JOB_SHOP, "-o", "scheme=non_delay", "--json")
    answer = json.loads(ended.out)
    assert ended.status == (outcome == "failed")
    assert (answer["env"], answer["ok"], len(answer["checks"])) == (JOB_SHOP, outcome == "ok", 2)
    assert answer["checks"][0]["status"] == outcome
    assert "why [not]" in run("check", JOB_SHOP, "-o", "scheme=non_delay").out


def test_doctor(run):
    ended = run("doctor", "--json")
    findings = json.loads(ended.out)
    assert ended.status == 0
    assert findings["healthy"]
    assert set(findings) == {"system", "core", "extras", "devices", "advice", "healthy"}
    assert "healthy" in run("doctor").out


def test_doctor_names_what_is_missing(run, monkeypatch):
    from dispatchgym.eval import doctor

    found = doctor._version
    monkeypatch.setattr(
        doctor, "_version", lambda package: None if package in ("jaxlib", "highspy") else found(package)
    )
    ended = run("doctor", "--json")
    findings = json.loads(ended.out)
    assert ended.status == 1
    assert findings["core"]["jaxlib"] == "missing"
    assert 'for [exact]: pip install "dispatchgym[exact]"' in findings["advice"]


def test_reading_stops_early():
    """``dispatchgym suites | head -1`` ends without a stack trace."""
    command = f"{sys.executable} -m dispatchgym.cli suites --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=120, cwd=Path(__file__).parent
    )
    assert "Traceback" not in done.stderr
