"""The benchmark harness: results compared before anything is timed, rows, report, regressions. No speed is asserted."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import gradcore

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "bench").is_dir(), reason="needs the source tree")
if not (ROOT / "bench").is_dir():
    pytest.skip("needs the source tree", allow_module_level=True)

from bench import __main__ as command  # noqa: E402
from bench import check, fit, peers, plots, record, report, run, suites  # noqa: E402
from bench.case import Case, Mismatch, compare, tolerance  # noqa: E402
from bench.harness import Harness, Plan, SubjectError, Timing, foreign, ratio  # noqa: E402
from bench.lab import Lab  # noqa: E402
from bench.suites import growth, imports, ops  # noqa: E402
from bench.targets import TARGETS, Target  # noqa: E402

HAVE_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAVE_TORCH, reason="needs PyTorch")


def measured(*arguments: str) -> run.Done:
    done = run.measure(command.arguments(["run", "--quick", "--threads", "1", *arguments]))
    assert not done.failures, done.failures
    return done


# ---------------------------------------------------------------- suites
@needs_torch
def test_overhead_and_training_beside_torch(tmp_path):
    done = measured("--suite", "all", "--case", "^(chain-20|digits)$", "--subjects", "gradcore-numpy")
    rows = {row["case"]: row for row in done.rows}
    assert [(row["suite"], row["case"]) for row in done.rows] == [("overhead", "chain-20"), ("training", "digits")]
    for row in done.rows:
        assert (row["subject"], row["executor"], row["peer"]) == ("gradcore-numpy", "numpy", "torch")
        assert (row["threads"], row["dtype"]) == (1, "float32")
        assert 0 < row["p20"] <= row["ratio"] <= row["p80"] and row["ours"] > 0 and row["theirs"] > 0
    digits = rows["digits"]
    assert digits["memory"] > 0 and digits["memory_ratio"] == pytest.approx(digits["memory"] / digits["peer_memory"])
    record.store(done.rows, tmp_path)
    stored = record.stored(tmp_path)
    assert [record.identity(row) for row in stored] == [record.identity(row) for row in done.rows]
    assert stored[0]["ratio"] == pytest.approx(done.rows[0]["ratio"], rel=1e-3)


def test_ops_without_a_peer(monkeypatch, capsys):
    monkeypatch.setattr(peers, "version", lambda name: None)
    done = measured("--suite", "ops", "--case", "^(tanh-1e3|gelu-1e3)$", "--peers", "autograd,mygrad")
    assert {row["case"] for row in done.rows if row["case"] == "tanh-1e3"} == {"tanh-1e3"}
    assert all(row["peer"] == "" and row["ours"] > 0 and "ratio" not in row for row in done.rows)
    printed = capsys.readouterr().out
    assert "left out: autograd (not installed)" in printed and "left out: mygrad (not installed)" in printed
    if not hasattr(gradcore.nn.functional, "gelu"):
        assert "ops/gelu-1e3 waits for nn.functional.gelu" in printed


def test_import():
    done = measured("--suite", "import", "--peers", "", "--case", "^(import|wheel)")
    rows = {row["case"]: row for row in done.rows}
    assert rows["import-beyond-numpy"]["ours"] > 0
    if importlib.util.find_spec("hatchling"):
        assert rows["wheel-size"]["ours"] > 50_000


def test_sizes_of_what_is_installed():
    assert imports.files_size("numpy") > 1e6
    assert "iniconfig" in imports.requirements("pytest")


def test_growth(monkeypatch):
    monkeypatch.setitem(growth.CURVES, "depth", (growth.depth, (), (10, 300, 1000), 1))
    done = measured("--suite", "growth", "--case", "depth", "--peers", "", "--subjects", "gradcore")
    time, memory = done.rows
    assert (time["quantity"], memory["quantity"]) == ("time", "memory")
    assert time["sizes"] == "10 300 1000" and isinstance(time["exponent"], float)
    assert all(float(cost) > 0 for cost in time["ours"].split())


def test_points_that_do_not_fit_are_left_out(monkeypatch):
    (large,) = [c for c in growth.cases("elements", quick=False) if c.size == 10**8]
    monkeypatch.setattr(growth, "available", lambda: 10e9)
    assert not growth.fits(large, 3) and growth.fits(growth.cases("elements", quick=False)[0], 3)


def built(case: Case, module: object, name: str) -> list[np.ndarray]:
    lab = Lab(name, module)
    return lab.arrays(case.build(lab, case.dtype, **case.arguments)())


SMALL = [c for c in [*suites.cases("ops", True), *ops.tiny("overhead", False)] if not c.waits_for(gradcore)]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.id)
def test_every_op_gives_the_reference(case):
    found = built(case, gradcore, "gradcore")
    if HAVE_TORCH:
        import torch

        compare(case.id, "gradcore", found, built(case, torch, "torch"), tolerance(case.dtype, case.terms))


def test_every_op_says_how_many_bytes_it_moves():
    entry = next(e for e in ops.entries() if e.name == "tanh")
    for backward, bytes_moved in ((False, 8_000), (True, 8_000 + 12_000)):  # g and the result in, the gradient out
        case = ops.case("ops", entry, 1000, backward)
        step = case.build(Lab("gradcore", gradcore), case.dtype, **case.arguments)
        assert step.traffic == bytes_moved


def test_every_public_elementwise_op_is_measured():
    from gradcore.ops import REGISTRY, Elementwise

    names = {case.arguments.get("op") for case in suites.cases("ops")}
    public = {n for n, op in REGISTRY.items() if isinstance(op, Elementwise) and op.public and op.methods}
    assert public <= names


def test_every_target_names_a_case():
    known = {case.id: case for suite in suites.CASES for case in suites.cases(suite)}
    named = {case for target in TARGETS for case in target.cases} - {"import/import"}
    assert named <= set(known)
    assert {c for t in TARGETS if t.column == "memory_ratio" for c in t.cases} <= {
        i for i, c in known.items() if c.memory
    }


def test_list(capsys):
    assert command.main(["run", "--list", "--suite", "all", "--case", "^(cnn|chain)"]) == 0
    printed = capsys.readouterr().out
    assert "overhead/chain-20" in printed and "growth" in printed and "training/cnn" in printed


# ---------------------------------------------------------------- results are compared
def test_compare():
    a = np.linspace(1, 2, 5).astype("f4")
    compare("s/c", "us", [a, np.array([np.nan, np.inf])], [a.copy(), np.array([np.nan, np.inf])], 1e-6)
    for wrong in (a + np.float32(1e-3), a[:4], np.full(5, np.nan, "f4"), np.full(5, np.inf, "f4")):
        with pytest.raises(Mismatch, match="^s/c: .*us"):
            compare("s/c", "us", [wrong], [a], 1e-6)
    with pytest.raises(Mismatch, match="returned 1 results, expected 2"):
        compare("s/c", "us", [a], [a, a], 1e-6)
    with pytest.raises(Mismatch, match=r"1 of 3 elements of result 0; at \(2,\) it has 4, expected 3"):
        compare("s/c", "us", [np.array([1, 2, 4])], [np.array([1, 2, 3])], 1.0)


def test_tolerance_is_some_roundings():
    assert tolerance("float32", 1) == 32 * np.finfo("f4").eps
    assert tolerance("float64", 100) == pytest.approx(320 * np.finfo("f8").eps)


PLANTED = """
def wrong(lab, dtype):
    return lambda: lab.tensor(__import__("numpy").ones(3, dtype)) * (2 if lab.name == "gradcore-numpy" else 1)


def broken(lab, dtype):
    raise KeyError("planted")


def ends(lab, dtype):
    __import__("os")._exit(7)
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Cases whose module the workers can import: one is wrong, one raises, one ends the process."""
    (tmp_path / "planted_cases.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import planted_cases

    yield {name: Case("planted", name, name, getattr(planted_cases, name)) for name in ("wrong", "broken", "ends")}
    del sys.modules["planted_cases"]


def test_a_mismatch_is_an_error_and_never_a_timing(planted, monkeypatch, capsys):
    monkeypatch.setitem(suites.CASES, "overhead", lambda quick: list(planted.values()))
    options = command.arguments(["run", "--quick", "--threads", "1", "--peers", "", "--suite", "overhead"])
    done = run.measure(options)
    assert done.rows == []
    wrong, broken, ends = done.failures
    assert "planted/wrong: gradcore-numpy differs from the reference in 3 of 3 elements" in wrong
    assert broken.startswith("planted/broken: gradcore: Traceback") and broken.endswith("KeyError: 'planted'")
    assert ends == "planted/ends: the process of gradcore ended with status 7"
    assert "wrong failed" in capsys.readouterr().out


def test_a_peer_that_does_not_start_is_left_out_with_the_reason(monkeypatch):
    if importlib.util.find_spec("tinygrad"):
        pytest.skip("tinygrad is installed")
    monkeypatch.setattr(peers, "version", lambda name: "1")
    harness = Harness(Plan(peers=("tinygrad",), subjects=(), quick=True))
    case = Case("s", "c", "c", ops.build, peers=("tinygrad",))
    assert harness.take_part(case) == {}
    assert harness.left_out == {"tinygrad": "ModuleNotFoundError: No module named 'tinygrad'"}


def test_our_own_subjects_may_not_be_left_out(monkeypatch):
    monkeypatch.setenv("GRADCORE_CPU", "nonsense")
    with pytest.raises(SubjectError, match="gradcore cannot be started: .*GRADCORE_CPU"):
        Harness(Plan()).worker("gradcore", 1)


def test_the_emulated_device_is_compared_and_not_timed(monkeypatch, capsys):
    from gradcore.backends.emulator import is_supported

    if not is_supported()[0]:
        pytest.skip(is_supported()[1])
    monkeypatch.setenv("GRADCORE_CUDA", "emulate")
    arguments = ["--suite", "ops", "--case", "^neg-1e3$", "--device", "cuda", "--threads", "1"]
    arguments += [] if HAVE_TORCH else ["--peers", ""]
    with pytest.raises(SystemExit, match="no timing"):
        command.main([*arguments, "--store"])
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "nothing is timed" in printed and "1 cases have the results" in printed


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--peers", "torch,nobody"], "'nobody' is none of torch"),
        (["--subjects", "torch"], "'torch' is none of gradcore"),
        (["--quick", "--store"], "too little to be stored"),
        (["--case", "("], "--case: "),
        (["--threads", "0"], "at least 1"),
        (["--suite", "all", "--csv", "x.csv"], "one suite"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.arguments(arguments)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


# ---------------------------------------------------------------- numbers
def test_ratio_is_the_median_over_rounds():
    ours, theirs = Timing(np.array([1.0, 2.0, 3.0, 40.0, 5.0])), Timing(np.full(5, 10.0))
    middle, low, high = ratio(ours, theirs)
    assert middle == pytest.approx(0.3) and low < middle < high


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_own_processor_time_is_not_foreign():
    before = foreign([])
    x = 0
    start = sum(__import__("os").times()[:2])
    while sum(__import__("os").times()[:2]) - start < 0.3:
        x += 1
    assert foreign([]) - before >= -0.05  # jiffies of 10 ms, on several counters


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("constant", [0.0, 1e-4])
def test_exponent(power, constant):
    sizes = [10, 100, 1000, 10_000, 100_000]
    assert fit.exponent(sizes, [constant + 1e-5 * n**power for n in sizes]) == pytest.approx(power, abs=0.05)


def test_exponent_of_a_flat_curve_and_of_a_single_point():
    assert math.isnan(fit.exponent([1, 10, 100], [5.0, 5.1, 5.0]))
    with pytest.raises(ValueError, match="at least two"):
        fit.exponent([1], [1.0])


def test_flag():
    assert fit.flag(1.3, 1.0) == "super-linear" == fit.flag(1.3, math.nan) == fit.flag(1.3, None)
    assert fit.flag(1.12, 0.5) == "" == fit.flag(1.3, 1.25) == fit.flag(math.nan, 1.0)


# ---------------------------------------------------------------- rows
WHERE = {
    "date": "2020-01-01",
    "commit": "abc",
    "device": "A, 2 cores",
    "python": "3.11.1",
    "numpy": "2.1",
    "torch": "2.13.0",
}


def planted_row(case: str = "overhead/chain-20", **values: object) -> record.Row:
    suite, _, name = case.partition("/")
    row = {**WHERE, "suite": suite, "case": name, "subject": "gradcore", "executor": "native", "peer": "torch"}
    row |= {"threads": 1, "dtype": "float32", "size": 4, "unit": "s", "ours": 1e-4, "theirs": 2e-4}
    return row | {"ratio": 0.5, "p20": 0.45, "p80": 0.55} | values


def test_rows_are_appended_and_read_back(tmp_path):
    record.store([planted_row()], tmp_path)
    record.store([planted_row(ratio=0.123456), planted_row("ops/tanh-1e7")], tmp_path)
    assert [r["ratio"] for r in record.read(tmp_path / "overhead.csv")] == [0.5, 0.1235]
    assert len(record.stored(tmp_path)) == 3
    with pytest.raises(ValueError, match="other columns"):
        record.write(tmp_path / "overhead.csv", "growth", [planted_row()])
    assert len(record.stored(tmp_path)) == 3


def test_the_rows_in_the_repository_have_the_columns_of_today():
    files = sorted((ROOT / "bench/results").glob("*.csv"))
    for path in files:
        with path.open(newline="") as f:
            assert tuple(next(csv.reader(f))) == record.columns(path.stem), path.name
        assert all(row["suite"] == path.stem for row in record.read(path))


def test_only_rows_of_quiet_times_are_stored(monkeypatch, capsys):
    rows = [planted_row(busy=0.01), planted_row("import/import"), planted_row("ops/tanh-1e7", busy=0.9)]
    stored: list[record.Row] = []
    monkeypatch.setattr(run, "measure", lambda options: run.Done(rows))
    monkeypatch.setattr(record, "store", stored.extend)
    assert command.main(["run", "--store"]) == 0
    assert stored == rows[:2] and "not stored: 1 rows" in capsys.readouterr().out


# ---------------------------------------------------------------- check
@pytest.mark.parametrize(
    "fresh, slower",
    [
        ({"ratio": 0.55}, 0),  # within the tolerance
        ({"ratio": 0.7, "p20": 0.62}, 1),
        ({"ratio": 0.7, "p20": 0.4}, 0),  # only some rounds were slow
        ({"ratio": 0.3}, 0),
        ({"memory_ratio": 2.0}, 1),
    ],
)
def test_check(fresh, slower):
    stored = [planted_row(ratio=0.2, p20=0.2), planted_row(memory_ratio=1.0)]  # the last one counts
    found, compared = check.regressions([planted_row(**fresh)], stored, 0.15)
    assert len(found) == slower and compared == 1 + ("memory_ratio" in fresh)


@pytest.mark.parametrize("other", [{"device": "B, 2 cores"}, {"torch": "3.0"}, {"threads": 2}, {"peer": "jax"}])
def test_check_compares_only_what_is_comparable(other, capsys):
    assert check.report([planted_row(ratio=9.0, p20=9.0, **other)], [planted_row()], 0.15) == 2
    assert "nothing is stored" in capsys.readouterr().out


def test_check_command(tmp_path, capsys):
    import json

    record.store([planted_row()], tmp_path)
    fresh = tmp_path / "fresh.json"
    for ratio_now, status in ((0.5, 0), (0.9, 1)):
        fresh.write_text(json.dumps([planted_row(ratio=ratio_now, p20=ratio_now)]))
        assert command.main(["check", "--rows", str(fresh), "--results", str(tmp_path)]) == status
    assert "slower: overhead/chain-20: time of gradcore / torch was 0.500" in capsys.readouterr().out


# ---------------------------------------------------------------- report
CURVE = {"quantity": "time", "exponent": 1.0, "peer_exponent": math.nan, "flag": "", "sizes": "10 100", "ours": "1 10"}


@pytest.fixture
def documents(tmp_path):
    """A root with documents, and planted rows."""
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/benchmarks.md"):
        (tmp_path / name).write_text(f"before\n{report.BEGIN}\nearlier\n{report.END}\nafter\n")
    rows = [
        planted_row(ratio=0.1234, p20=0.1, p80=0.2),
        planted_row(subject="gradcore-numpy", executor="numpy", ratio=0.75, p20=0.7, p80=0.8),
        planted_row("training/digits", memory=5, peer_memory=10, memory_ratio=0.5),
        planted_row("overhead/chain-20", device="A, 2 cores, GPU", executor="cuda", ratio=0.33, bandwidth=0.9),
        planted_row("growth/depth", **CURVE, theirs="2 3"),
    ]
    record.store(rows, tmp_path / "results")
    return tmp_path


def test_report_is_made_of_the_rows_and_stays_the_same(documents):
    arguments = ["report", "--results", str(documents / "results"), "--root", str(documents)]
    assert command.main(arguments) == 0
    files = {p: p.read_bytes() for p in documents.rglob("*") if p.is_file()}
    text = (documents / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "earlier" not in text
    assert (
        "| chain of 20 tiny ops, forward + backward | 0.5 | 0.12 (0.10 to 0.20) | 0.5 | **0.75 (0.70 to 0.80)** |"
        in text
    )
    assert "NumPy only: `overhead/chain-20` 0.75, at most 0.5" in text
    assert "| 1.0 | 0.50, 1 of 4 cases |" in text  # peak memory
    details = (documents / "docs/benchmarks.md").read_text()
    assert "| depth | time | gradcore | 10 to 100 | 1.00 | flat |" in details and "90% of a copy" in details
    if importlib.util.find_spec("matplotlib"):
        assert {p.name for p in files if p.suffix == ".svg"} == {
            plots.name(s) for s in ("overhead", "training", "growth")
        }
    assert command.main(arguments) == 0
    assert {p: p.read_bytes() for p in documents.rglob("*") if p.is_file()} == files


def test_report_without_markers_writes_nothing(documents):
    (documents / "docs/benchmarks.md").write_text("no markers\n")
    before = (documents / "README.md").read_text()
    with pytest.raises(ValueError, match="benchmarks.md needs one pair of markers"):
        report.write(documents / "results", documents)
    assert (documents / "README.md").read_text() == before


def test_only_the_newest_machine_is_shown():
    rows = [
        planted_row(date="2021-01-01"),
        planted_row(device="old, 2 cores"),
        planted_row(date="2021-01-02", ratio=0.4),
    ]
    assert [row["ratio"] for row in report.latest(rows)] == [0.4]


def test_a_missed_limit_shows_its_reason(monkeypatch):
    reasons = {"overhead/chain-20 numpy": "ufuncs", "overhead/chain-20": "any"}
    target = Target("t", ("overhead/chain-20",), 0.1, 0.1, reasons=reasons)
    monkeypatch.setattr(report, "TARGETS", (target,))
    rows = [planted_row(), planted_row(subject="gradcore-numpy", executor="numpy", ratio=0.75)]
    assert [line.rpartition(": ")[2] for line in report.missed(rows)] == ["any", "ufuncs"]


def test_the_documents_have_their_markers():
    for name in ("README.md", "docs/benchmarks.md"):
        report.between_markers((ROOT / name).read_text(encoding="utf-8"), name, "")


def test_options_of_the_command_are_those_of_the_plan():
    options = command.arguments(["--suite", "ops", "--rounds", "7", "--threads", "3", "--peers", "torch,jax"])
    plan = run.plan_of(argparse.Namespace(**vars(options)))
    assert (plan.rounds, plan.threads, plan.peers, plan.device) == (7, 3, ["torch", "jax"], "cpu")
