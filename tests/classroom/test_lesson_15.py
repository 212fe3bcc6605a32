"""Lesson 15's widgets, records, form and figures of its text, found again by code of their own."""

import gzip
import hashlib
import importlib
import json
import math
import re
import sys
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import torch

from pgnotes.classroom.open_questions import column, pooling_ratio, recorded_entropy, recorded_rows
from pgnotes.classroom.questions import Question
from pgnotes.classroom.widgets import forks, judge

ROOT = Path(__file__).parents[2]
NOTEBOOK = nbformat.read(next((ROOT / "notebooks").glob("15_*.ipynb")), 4)
CELLS = {cell.id: cell for cell in NOTEBOOK.cells}
TEXT = "\n".join(cell.source for cell in NOTEBOOK.cells if cell.cell_type == "markdown")


def printed(name):
    return "".join(output.get("text", "") for output in CELLS[name].outputs)


# the judge

CHANCE = [math.exp(x) for x in (0.2, 0.7, 0.3, -0.8)]
CHANCE = [c / sum(CHANCE) for c in CHANCE]


def kinds():
    """(sum or None without a stop, length) -> chance, grown pour by pour."""
    found, open_ = {}, {(0, 0): 1.0}
    for length in range(4):
        after = {}
        for (total, _), chance in open_.items():
            found[total, length + 1] = found.get((total, length + 1), 0.0) + chance * CHANCE[0]
            for pour in (1, 2, 3):
                key = (total + pour, length + 1)
                after[key] = after.get(key, 0.0) + chance * CHANCE[pour]
        open_ = after
    found[None, 4] = sum(open_.values())
    return found


KINDS = kinds()
MASS = torch.tensor(list(KINDS.values()), dtype=torch.float64)
PAID = torch.tensor([total / 6 if total is not None and total <= 6 else 0.0 for total, _ in KINDS], dtype=torch.float64)
LENGTH = torch.tensor([float(length) for _, length in KINDS], dtype=torch.float64)


def taught(flips, love):
    """A reward model fitted by gradient descent with momentum to all pairs, and J at KL 2 by bisection."""
    levels = sorted({-1 if total is None else total for total, _ in KINDS})
    x = torch.tensor([[float((-1 if total is None else total) == level) for level in levels] for total, _ in KINDS])
    x = torch.cat([x.double(), LENGTH[:, None]], 1)
    odds = (PAID[:, None] - PAID) / 0.3 + love * (LENGTH[:, None] - LENGTH)
    wins = torch.sigmoid(odds)
    wins = (1 - flips) * wins + flips * (1 - wins)
    weights = MASS[:, None] * MASS * wins
    x = x / (MASS @ x.square()).sqrt()
    w, speed = torch.zeros(x.shape[1], dtype=torch.float64), 0.0
    for _ in range(12_000):
        s = x @ w
        push = weights * torch.sigmoid(s - s[:, None])
        speed = 0.97 * speed + x.T @ (push.sum(1) - push.sum(0))
        w = w + 0.3 * speed
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        policy = torch.softmax(MASS.log() + middle * (x @ w), 0)
        low, high = (middle, high) if torch.xlogy(policy, policy / MASS).sum() < 2 else (low, middle)
    return (policy @ PAID).item(), (policy @ LENGTH).item()


@pytest.mark.parametrize(("flips", "love", "said"), [(0, 0.0, "0.842"), (40, 0.0, "0.838"), (0, 2.0, "0.787")])
def test_the_judge_s_endless_pairs(flips, love, said):
    n = judge.numbers(None, flips, love, 2.0, seed=5)
    earned, length = taught(flips / 100, love)
    assert n["now"][1] == pytest.approx(earned, abs=5e-4)
    assert n["mean_length"] == pytest.approx(length, abs=0.01)
    assert f"{n['now'][1]:.3f}" == said
    assert said in TEXT
    assert f"endless {said}" in printed("c79-code")


def test_the_judge_s_agreement_and_curve():
    for flips, love, said in ((0, 0.0, 62), (40, 0.0, 52), (0, 2.0, 58)):
        odds = (PAID[:, None] - PAID) / 0.3
        clean, other = torch.sigmoid(odds), torch.sigmoid(odds + love * (LENGTH[:, None] - LENGTH))
        other = (1 - flips / 100) * other + flips / 100 * (1 - other)
        agree = MASS @ (clean * other + (1 - clean) * (1 - other)) @ MASS
        n = judge.numbers(None, flips, love, 1.0, seed=0)
        assert n["now"][0] == pytest.approx(1.0, abs=1e-6)
        assert n["agreement"] == pytest.approx(agree.item())
        assert round(100 * n["agreement"]) == said
        assert f"{said} %" in TEXT
    spent, earned = n["curve"]
    assert spent == sorted(spent)
    assert earned[0] == pytest.approx((MASS @ PAID).item())
    place = next(i for i, kl in enumerate(spent) if kl > 1.0)
    assert earned[place - 1] < n["now"][1] < earned[place]  # at KL 1, where all three curves rise


def test_a_love_of_short_answers_stops_at_once():
    """All that can be spent is the chance of the stop; the agreement is that of 40 % turned verdicts."""
    n = judge.numbers(None, 0, -2.0, 2.0, seed=0)
    assert n["now"] == pytest.approx((-math.log(CHANCE[0]), 0.0), abs=1e-6)
    assert n["lengths"][0] == pytest.approx(1)
    assert f"{n['agreement']:.0%}" == f"{judge.numbers(None, 40, 0.0, 2.0, 0)['agreement']:.0%}" == "52%"
    assert "endless 0.000" in printed("c79-code")


def test_at_a_kl_of_4_nothing_is_lost_by_a_love_of_length():
    assert judge.numbers(None, 0, 2.0, 4.0, seed=0)["now"][1] > 0.9995
    assert "At 4 the lover of length loses nothing" in TEXT


def test_resample_changes_finite_pairs_alone():
    assert judge.numbers(300, 40, 0.0, 2.0, 0)["now"] != judge.numbers(300, 40, 0.0, 2.0, 1)["now"]
    assert judge.numbers(None, 40, 0.0, 2.0, 0)["now"] == judge.numbers(None, 40, 0.0, 2.0, 1)["now"]


def test_the_data_set_shown_first_is_an_ordinary_one():
    """Near the means that the lesson prints, at 40 % turned verdicts."""
    line = next(line for line in printed("c79-code").splitlines() if line.startswith("40 %"))
    means = [float(mean) for mean in re.findall(r"(0\.\d{3}) ±", line)]
    for pairs, mean in zip((300, 3_000, 30_000), means, strict=False):
        assert abs(judge.numbers(pairs, 40, 0.0, 2.0, 0)["now"][1] - mean) < 0.06


# forks


def test_forks_counts_what_the_record_holds():
    packed = json.loads(gzip.decompress(files("pgnotes.classroom").joinpath("pocket_values.json.gz").read_bytes()))
    rows = [
        (entropy, (after - before) ** 2)
        for text in packed["texts"]
        for entropy, before, after in zip(text["entropy"], text["values"], text["values"][1:], strict=False)
    ]
    assert len(rows) == 294
    rows.sort(key=lambda row: -row[0])
    for percent, credit, nats in ((5, 6, 29), (20, 78, 87), (30, 94, 100)):
        top = rows[: round(percent / 100 * len(rows))]
        held = [sum(row[i] for row in top) / sum(row[i] for row in rows) for i in (1, 0)]
        n = forks.numbers(0, percent)
        assert n["held"] == pytest.approx(held)
        assert n["count"] == len(top)
        assert [round(100 * share) for share in held] == [credit, nats]
    assert "holds 6 % of the credit" in TEXT
    assert "holds 78 %" in TEXT
    for percent, said in ((20, "the fifth holds 37 to 97 %"), (5, "the twentieth 0 to 74 %")):
        lowest = sorted((row[0] for row in rows), reverse=True)[round(percent / 100 * len(rows)) - 1]
        held = []
        for text in packed["texts"]:
            squares = [(b - a) ** 2 for a, b in pairwise(text["values"])]
            marked = [x for x, entropy in zip(squares, text["entropy"], strict=False) if entropy >= lowest]
            held.append(round(100 * sum(marked) / sum(squares)))
        assert [int(x) for x in re.findall(r"\d+", said)] == [min(held), max(held)]
        assert said in TEXT
    quiet = sum(entropy < 0.05 for entropy, _ in rows) / len(rows)
    assert f"{quiet:.0%} of 294 characters" in printed("c73-code")


def test_what_the_twentieth_is_made_of():
    pairs = []
    for text in range(6):
        found = forks.numbers(text, 5)
        letters = [" ", *found["letters"]]
        pairs += [letters[i : i + 2] for i, marked in enumerate(found["marked"]) if marked]
    digits, firsts = sum(now.isdigit() for _, now in pairs), sum(a == " " and b.isalpha() for a, b in pairs)
    assert (len(pairs), firsts, digits) == (15, 10, 5)
    assert "of its 15 characters ten are first letters of words and five are digits" in TEXT


def test_forks_marks_the_same_characters_in_every_text():
    for share in (5, 20, 50):
        marked = sum(sum(forks.numbers(text, share)["marked"]) for text in range(6))
        assert marked == forks.numbers(0, share)["count"] == round(share / 100 * 294)
    one = forks.numbers(2, 20)
    lowest = min(e for e, m in zip(one["entropies"], one["marked"], strict=True) if m)
    assert all(e <= lowest or m for e, m in zip(one["entropies"], one["marked"], strict=True))


# the records


def test_the_record_of_entropies_says_what_the_lesson_says():
    record = recorded_entropy()
    weights = files("pgnotes.lm.pocket").joinpath("model.safetensors").read_bytes()
    assert record["model"] == hashlib.sha256(weights).hexdigest(), "record it anew: python tools/record_entropy.py"
    rows = record["rows"]
    assert (len(rows), record["openings"], record["command"]) == (768, 12, "python tools/record_entropy.py")
    passing, failing = ([row for row in rows if row["passed"] == passed] for passed in (True, False))
    assert len(passing) == 82
    assert "82 pass" in TEXT
    for name, sign, said in (("entropy", -1, "0.51"), ("last_entropy", -1, "0.50"), ("logprob", 1, "0.62")):
        above = [(sign * (a[name] - b[name]) > 0) + 0.5 * (a[name] == b[name]) for a in passing for b in failing]
        share = sum(above) / len(above)
        assert abs(share - float(said)) <= 0.0051
        assert f"{said} ± 0.03" in TEXT
        assert f"{share:.3f}" in printed("c72-code")
    assert column("passed").sum() == 82
    assert column("entropy").tolist() == [row["entropy"] for row in rows]


def test_the_recorder_describes_each_text(monkeypatch):
    """Two texts, with the recorder's own code."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    found = importlib.import_module("record_entropy").record(openings=1, size=2)
    kept = recorded_entropy()
    assert {key: found[key] for key in ("command", "model", "seed", "last")} == {
        key: kept[key] for key in ("command", "model", "seed", "last")
    }
    assert [row.keys() for row in found["rows"]] == [kept["rows"][0].keys()] * 2
    assert all(0 < row["entropy"] < 2 and row["logprob"] < 0 and row["tokens"] > 10 for row in found["rows"])


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "seven_rows", raising=False)
    return importlib.import_module("seven_rows")


def test_a_row_of_the_record_comes_out_again(benchmark):
    """The dearest to be trusted: an entry of the grid, counted anew."""
    record = recorded_rows()["rows"]["REINFORCE, normalised"]
    entry = next(entry for entry in record["tried"] if entry["step"] == 3.0)
    runs, seed = benchmark.TRIED
    states = benchmark.reinforcing(True)(3.0, runs, seed)
    counts = benchmark.sequences_until(benchmark.WORLD, states, benchmark.BATCH, benchmark.TARGET, benchmark.MOST)
    found = benchmark.summed_up(counts)
    assert found == pytest.approx({key: entry[key] for key in found})


def test_steps_were_chosen_by_the_rule(benchmark):
    for name, row in recorded_rows()["rows"].items():
        grid, _ = benchmark.METHODS[name]
        assert [entry["step"] for entry in row["tried"]] == list(grid)
        best = min(row["tried"], key=lambda entry: (entry["nine_of_ten"] or 1e9, entry["never"]))
        assert row["step"] == best["step"]
    assert recorded_rows()["tried"] == {"runs": 100, "seed": 0}
    assert recorded_rows()["measured"] == {"runs": 200, "seed": 1}


def thousands(number):
    return f"{int(number):,}" if number else "over 4,000"


def test_the_seven_rows_are_the_record():
    table = next(cell.source for cell in NOTEBOOK.cells if cell.id == "c83-table")
    record = recorded_rows()
    for name, row in record["rows"].items():
        said = f"{thousands(row['median'])} · {thousands(row['nine_of_ten'])} · {100 * row['never']:.3g} %"
        assert said in table, (name, said)
    for row in record["dpo"]:
        assert f"{row['median']:.2f}" in table
    falls = {row["batch"]: row["share"] for row in record["falls"]}
    assert f"{100 * falls[8]:.2g} % of iterations at batches of 8, {100 * falls[16]:.2g} % at 16" in table
    for name in ("REINFORCE, normalised", "PPO, 8 epochs", "A2C, λ = 0.9"):
        row = record["rows"][name]
        before = next(entry for entry in row["tried"] if entry["step"] == row["step"])["nine_of_ten"]
        assert f"from {thousands(before)} to" in table


def test_what_is_said_of_paced_steps():
    """At the same risk the paced median is later, by interpolation between the fixed ones."""
    paces = recorded_rows()["paces"]
    fixed = sorted((row["never"], row["median"]) for row in paces if not row["paced"])
    ratios = []
    for row in (row for row in paces if row["paced"]):
        for (a, x), (b, y) in pairwise(fixed):
            if a < b and a <= row["never"] <= b:
                by_log = math.log(x) + (row["never"] - a) / (b - a) * (math.log(y) - math.log(x))
                ratios.append(row["median"] / math.exp(by_log))
    assert len(ratios) == 6
    assert min(ratios) > 1.04, "on the line or to its right"
    by_delta = {(row["delta"], row["paced"]): row for row in paces}
    deltas = sorted({delta for delta, _ in by_delta})
    slower = [100 * by_delta[delta, True]["median"] / by_delta[delta, False]["median"] - 100 for delta in deltas]
    assert f"the median by {min(slower):.0f} to {max(slower):.0f} %" in TEXT
    lost = [f"{100 * by_delta[0.4, paced]['never']:g} %" for paced in (True, False)]
    assert f"{lost[0]} for {lost[1]} at δ = 0.4" in TEXT
    slowest = [int(share) for share in re.findall(r"in (\d+)% of batches", printed("pace-live"))]
    assert len(slowest) == 4
    assert min(slowest) > 50
    assert 0.38 < min(r["pace"] for r in paces if r["paced"]) < max(r["pace"] for r in paces if r["paced"]) < 0.7


def test_the_pooling_ratio_is_one_at_the_edge():
    assert pooling_ratio(0.3, 0.35, 4) == pytest.approx(1, abs=0.025)
    assert pooling_ratio(0.3, 0.0, 4) < 0.9


# the form, and the minutes


def test_the_minutes_add_up_to_those_of_the_title():
    """Sections 8 and 9 and exercise 15.3 are for a second reading."""
    read, practise, more = map(
        int,
        re.search(r"^(\d+) minutes to read, (\d+) for .* quiz; (\d+) more for sections 8 and 9", TEXT, re.M).groups(),
    )
    sections = [int(minutes) for minutes in re.findall(r"^## \d+ · .*\((\d+) minutes", TEXT, re.M)]
    tasks = [int(minutes) for minutes in re.findall(r"^\*\*Exercise 15\.\d\*\* \(\w+, (\d+) minutes\)", TEXT, re.M)]
    assert len(sections) == 12
    assert sum(sections[:7]) + sections[9] == read
    assert sum(tasks) - tasks[2] == sections[10]
    assert sum(sections[10:]) == practise
    assert sections[7] + sections[8] + tasks[2] == more
    assert read + practise <= 60


def test_the_filled_form_of_the_lesson_runs():
    code = re.findall(r"```python\n(.*?)```", CELLS["own-example"].source, re.S)
    space = {"Question": Question}
    exec("from pgnotes.theory.worlds import sum_world\nworld = sum_world()\n" + code[1] + code[0], space)
    answer = space["mine"].run(seeds=2)
    assert answer.verdict in ("wrong", "not wrong", "undecided")
    worst = [space["after_sixty"](seed).min().item() for seed in range(6)]
    assert min(worst) < 0.9 < sum(worst) / 6, "the mean of the worst hides that a run lies below"
