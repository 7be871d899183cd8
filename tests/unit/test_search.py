"""Searches: what is drawn, remembered and pruned; no process and no network."""

import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import SMALL_PARAMS

from flows import search as searching
from flows.experiment_record import Remembered, recall, remember
from flows.experiment_space import Snapshot
from flows.grid_axes import Axis
from flows.search_axes import Range, combination, refuse_ranges, search_axes
from flows.search_goal import Goal, goal_of
from flows.search_pruning import LEAST_CURVES, comparable_by, why_hopeless
from flows.search_study import Study
from wordmill.errors import DataError, ParamsError

ASKED = ["pretrain.lr=1e-4..1e-2:log", "model.decoder.num_layers=1..4", "clean.mask=[email],[]"]


def axes(*asked):
    return search_axes(list(asked), SMALL_PARAMS)


def refusal(*asked) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        axes(*asked)
    return str(caught.value).splitlines()


def test_ranges_and_lists_are_read_by_the_type_of_their_key():
    lr, layers, mask = axes(*ASKED)
    assert lr == Range(key="pretrain.lr", low=1e-4, high=1e-2, is_log=True, is_whole=False)
    assert (layers.low, layers.high, layers.is_whole, layers.is_log) == (1, 4, True, False)
    assert mask == Axis(key="clean.mask", values=[["email"], []])
    (dropout,) = axes("pretrain.dropout=0..1e-1")
    assert (dropout.low, dropout.high, dropout.is_whole) == (0.0, 0.1, False)
    (negative,) = axes("finetune.min_lr_fraction=.05...5")  # 0.05 to 0.5
    assert (negative.low, negative.high) == (0.05, 0.5)


def test_a_drawn_value_is_short_and_stays_within_its_ends():
    found = axes(*ASKED)
    drawn = {"pretrain.lr": 0.000123456789, "model.decoder.num_layers": 3, "clean.mask": 1}
    one = combination(drawn, found, SMALL_PARAMS)
    assert one.changes == {
        "pretrain.lr": 0.0001235,
        "model.decoder.num_layers": 3,
        "clean.mask": [],
    }
    assert type(one.changes["model.decoder.num_layers"]) is int
    assert one.values["pretrain"]["lr"] == 0.0001235
    narrow = Range(key="x", low=0.100001, high=0.100002, is_log=False, is_whole=False)
    assert narrow.value(0.1000015) == 0.100001


def test_wrong_ranges_are_refused_with_the_reason():
    assert refusal("pretrain.lr=2..1", "model.kind=1..2", "pretrain.weight_decay=0..1:log") == [
        "-S pretrain.lr=2..1: must go up, as LOW..HIGH or LOW..HIGH:log",
        "-S model.kind=1..2: a range is for numbers; list the values instead",
        "-S pretrain.weight_decay=0..1:log: :log needs numbers above 0",
    ]
    (line,) = refusal("model.decoder.num_layers=0..4")
    assert line.startswith("-S model.decoder.num_layers: must be greater than or equal to 1; got 0")
    assert "did you mean 'pretrain.lr'?" in refusal("pretrain.lrr=1..2")[0]
    assert "nothing to choose from" in refusal("pretrain.lr=1e-3")[0]
    assert "luck" in refusal("seed=1..9")[0]
    with pytest.raises(ParamsError, match=r"lr=1..2: a range needs --search"):
        refuse_ranges(["model.kind=lstm", "pretrain.lr=1..2"])
    refuse_ranges(["model.kind=lstm"])


def test_values_that_only_go_together_with_others_are_no_mistake():
    # Alone, this one fits no context of 64 tokens.
    assert len(axes("tokenize.max_source_tokens=32,500", "model.context_tokens=64..1024")) == 2


def test_a_goal_points_the_way_of_its_metric():
    assert goal_of(None, SMALL_PARAMS) == Goal(kind="summarize", metric="rougeL")
    texts = {**SMALL_PARAMS["ingest"], "sources": SMALL_PARAMS["ingest"]["sources"][:1]}
    alone = goal_of(None, {**SMALL_PARAMS, "ingest": texts})
    assert (alone.name, alone.is_higher_better) == ("documents/bits_per_byte", False)
    assert goal_of("translate/bleu", SMALL_PARAMS).is_higher_better
    assert not goal_of("finetune/loss", SMALL_PARAMS).is_higher_better
    for wrong in (
        "rougeL",
        "summary/rougeL",
        "summarize/rouge",
        "pretrain/rougeL",
        "write/novelty",
    ):
        with pytest.raises(ParamsError, match="--goal"):
            goal_of(wrong, SMALL_PARAMS)


def remembered(**values):
    return Remembered(name="s-1", grid="s", key="1", changes={}, **values)


def test_a_goal_reads_its_figure_and_what_it_was_measured_by():
    one = remembered(
        figures={"summarize": {"rougeL": {"value": 31.5, "signature": "rougeL|x"}}},
        sets={"summarize": "set-1"},
        curves={"finetune": [(20, 3.5, None), (40, 2.5, None), (60, 2.75, None)]},
        outputs={"tokenize": "abc.dir"},
    )
    rouge, loss = (goal_of(name, SMALL_PARAMS) for name in ("summarize/rougeL", "finetune/loss"))
    assert (rouge.value(one), loss.value(one)) == (31.5, 2.5)
    assert rouge.yardstick(one) == "examples set-1, rougeL|x"
    assert loss.yardstick(one) == "output of tokenize abc.dir"
    with pytest.raises(DataError, match=r"has no such figure; there are summarize/rougeL, fine"):
        goal_of("summarize/rouge2", SMALL_PARAMS).value(one)
    with pytest.raises(DataError, match="no such figure"):
        goal_of("finetune/bits_per_byte", SMALL_PARAMS).value(one)


def test_what_is_remembered_comes_back_as_it_was(tmp_path):
    one = remembered(curves={"pretrain": [(20, 3.5, None), (40, 2.5, 1.25)]}, status="pruned")
    remember(tmp_path / "1.experiment.json", one)
    assert recall(tmp_path / "1.experiment.json") == one


def study_at(folder, *, how="bayes", name="s", seed=7, found=None):
    found = found or axes(*ASKED)
    return Study(folder / "study.db", name, found, how=how, seed=seed, is_higher_better=False)


def value_of(drawn):
    return abs(drawn["pretrain.lr"] - 0.003) * 1000 + drawn["model.decoder.num_layers"]


@pytest.mark.parametrize("how", ["random", "bayes"])
def test_a_search_that_is_killed_draws_what_it_would_have_drawn(tmp_path, how):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    num = 4 if how == "random" else 12  # the first ten are drawn at random
    whole = study_at(tmp_path / "a", how=how)
    drawn = []
    for _ in range(num):
        trial = whole.ask()
        drawn.append(trial.drawn)
        whole.done(trial.number, value_of(trial.drawn))
    whole.close()
    assert len({json.dumps(one) for one in drawn}) == num  # no draw is that of another start
    again = study_at(tmp_path / "b", how=how)
    for number in range(num):
        trial = again.ask()
        assert trial.drawn == drawn[number]
        if number in (1, 2, 10):  # killed while it ran
            again.close()
            again = study_at(tmp_path / "b", how=how)
            (trial,) = (one for one in again.trials() if one.outcome == "running")
            assert trial.drawn == drawn[number]
        again.done(trial.number, value_of(trial.drawn))
    again.close()


def test_a_draw_that_was_cut_off_is_no_trial(tmp_path):
    study = study_at(tmp_path)
    study._study.ask()  # nothing of it is drawn yet
    study.close()
    again = study_at(tmp_path)
    assert again.trials() == []
    trial = again.ask()
    again.pruned(trial.number, "too slow")
    (found,) = again.trials()
    assert (found.outcome, found.why, found.value) == ("pruned", "too slow", None)
    again.close()


CURVES = [[(20, 4.0 + i / 10, None), (40, 3.0 + i / 10, None)] for i in range(LEAST_CURVES)]


def test_a_curve_above_the_median_is_hopeless():
    assert why_hopeless("pretrain", [(20, 4.1, None)], CURVES) == ""
    assert why_hopeless("pretrain", [(20, 4.3, None)], CURVES) == (
        "pretrain had validation loss 4.300 by step 20, above the median of 5 others"
    )
    # Its best counts, and the first point at which it is too little, however late one looks.
    assert "by step 20," in why_hopeless("pretrain", [(20, 9.0, None), (40, 1.0, None)], CURVES)
    assert why_hopeless("pretrain", [(20, 4.0, None), (40, 3.3, None)], CURVES).startswith(
        "pretrain had validation loss 3.300 by step 40"
    )
    assert why_hopeless("pretrain", [(30, 9.0, None)], CURVES) == ""  # no other was seen there
    assert why_hopeless("pretrain", [(20, 9.0, None)], CURVES[1:]) == ""  # too few to tell


def test_curves_of_other_tokens_or_objectives_are_not_compared():
    one = remembered(outputs={"tokenize": "a"})
    other_kind = {**SMALL_PARAMS, "model": {**SMALL_PARAMS["model"], "kind": "encoder-decoder"}}
    mine = comparable_by("pretrain", one, SMALL_PARAMS)
    assert mine == comparable_by("pretrain", one, SMALL_PARAMS) != None  # noqa: E711
    assert mine != comparable_by("pretrain", remembered(outputs={"tokenize": "b"}), SMALL_PARAMS)
    assert mine != comparable_by("pretrain", one, other_kind)
    finetune = comparable_by("finetune", one, SMALL_PARAMS)
    assert finetune == comparable_by("finetune", one, other_kind)  # its loss is of the targets
    assert comparable_by("pretrain", remembered(), SMALL_PARAMS) is None


class Runs:
    """MLflow as a search sees it."""

    def __init__(self, *_):
        self.ended, self.tags = [], {}

    def run_of(self, one):
        return f"run-of-{one.name}"

    def curves_of(self, run_id):
        return {}

    def tag(self, run_id, tags):
        self.tags.setdefault(run_id, {}).update(tags)

    def pruned(self, run_id, why):
        self.tag(run_id, {"pruned": why})

    def end(self, status):
        self.ended.append(status)


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Searches whose experiments take no time: what each ran is written down."""
    monkeypatch.chdir(tmp_path)
    ran, runs = [], Runs()
    taken = Snapshot(commit="", tree="", links={}, key="k")
    monkeypatch.setattr(searching, "snapshot", lambda _: taken)
    monkeypatch.setattr(searching, "dvc_cache", Path)
    monkeypatch.setattr(searching, "make_workspace", lambda *_, **__: None)
    monkeypatch.setattr(searching, "read_params", lambda _: SMALL_PARAMS)
    tracking = SimpleNamespace(GridRuns=lambda *_: runs)  # MLflow takes 3 s to import
    monkeypatch.setitem(sys.modules, "flows.experiment_tracking", tracking)

    def run_with(outcome, *, is_told_supply=False):
        def run_all(supply, *, jobs):
            running = []
            while True:
                while len(running) < jobs and (new := supply.next()):
                    running.append(new)
                if not running:
                    return
                one = running.pop(0)
                ran.append(one.remembered.key)
                outcome(one, supply) if is_told_supply else outcome(one)
                remember(one.memory, one.remembered)
                supply.ended(one)

        monkeypatch.setattr(searching, "run_all", run_all)

    return run_with, ran, runs


def good(one):
    lr = one.one.values["pretrain"]["lr"]
    figure = {"value": 50 - abs(lr - 0.003) * 1000, "signature": "rougeL|x"}
    one.remembered.status, one.remembered.sets = "done", {"summarize": "set"}
    one.remembered.figures = {"summarize": {"rougeL": figure}}


def run_search(*asked, trials=6, jobs=1, how="random", **options):
    given = {"goal": None, "is_pruned": True, "name": "hunt", "is_dry": False, **options}
    return searching.search(list(asked), how=how, num_trials=trials, jobs=jobs, **given)


def test_a_search_killed_anywhere_makes_each_experiment_once(project, capsys):
    run_with, ran, runs = project
    steps = iter(range(1000))

    def dies_now_and_then(one):
        if next(steps) % 3 == 1:
            ran.pop()  # it did not come to its end
            raise Killed
        good(one)

    run_with(dies_now_and_then)
    num_kills = 0
    while True:
        try:
            assert run_search("pretrain.lr=1e-4..1e-2:log") == 0
            break
        except Killed:
            num_kills += 1
    assert num_kills > 1
    assert runs.ended == ["KILLED"] * num_kills + ["FINISHED"]
    assert Counter(ran).most_common(1)[0][1] == 1
    assert len(ran) == 6
    assert "6 trials: 6 done" in capsys.readouterr().out
    run_with(good)
    assert run_search("pretrain.lr=1e-4..1e-2:log", trials=7) == 0  # one more
    assert len(ran) == 7
    assert run_search("pretrain.lr=1e-4..1e-2:log", trials=7) == 0
    assert len(ran) == 7


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_is_drawn_again_is_made_once(project, jobs, capsys):
    run_with, ran, _ = project
    run_with(good)
    assert run_search("model.decoder.num_layers=1..2", trials=8, jobs=jobs) == 0
    assert len(ran) == 2
    assert "8 trials: 8 done" in capsys.readouterr().out


def test_the_best_is_named_and_what_failed_is_told(project, capsys):
    run_with, _, runs = project

    def some_fail(one):
        good(one)
        if one.number == 2:
            one.remembered.status, one.remembered.message = "failed", "pretrain: the loss is NaN"
            one.remembered.exit_status = 65
        if one.number == 3:
            one.remembered.status, one.remembered.message = "pruned", "pretrain lags"

    run_with(some_fail)
    assert run_search("pretrain.lr=1e-4..1e-2:log", trials=5) == 0
    told = capsys.readouterr().out
    assert "5 trials: 3 done, 1 pruned, 1 failed" in told
    assert "failed: pretrain: the loss is NaN" in told
    assert f"best: {runs.tags[None]['wordmill.best']}, summarize/rougeL" in told
    assert "looks better than" in told


def test_a_server_that_was_away_is_tried_again_and_nothing_else(project):
    run_with, ran, runs = project

    def first_is_away(one):
        good(one)
        if one.number == 1:
            one.remembered.status, one.remembered.exit_status = "failed", 75

    run_with(first_is_away)
    assert run_search("pretrain.lr=1e-4..1e-2:log", trials=3) == 75
    assert runs.ended == ["FAILED"]
    run_with(good)
    assert run_search("pretrain.lr=1e-4..1e-2:log", trials=3) == 0
    assert Counter(Counter(ran).values()) == {1: 2, 2: 1}


def test_the_curves_of_draws_that_are_one_experiment_count_once(project, monkeypatch):
    run_with, ran, runs = project
    monkeypatch.setattr(runs, "curves_of", lambda _: {"pretrain": [(20, 9.0, None)]})
    reasons = []

    def asked_first(one, supply):
        one.remembered.outputs = {"tokenize": "a"}
        remember(one.memory, one.remembered)
        reasons.append(supply.why_end(one))
        good(one)
        one.remembered.curves = {"pretrain": [(20, 1.0, None)]}

    run_with(asked_first, is_told_supply=True)
    assert run_search("model.decoder.num_layers=1..7", trials=30) == 0
    assert len(ran) > LEAST_CURVES + 1
    assert reasons[:LEAST_CURVES] == [""] * LEAST_CURVES
    assert all("above the median of" in reason for reason in reasons[LEAST_CURVES:])
    assert "above the median of 5 others" in reasons[LEAST_CURVES]


def test_params_that_do_not_go_together_are_a_failed_trial(project, capsys):
    run_with, ran, _ = project
    run_with(good)
    assert run_search("tokenize.max_source_tokens=32,500", trials=6) == 0
    assert len(ran) == 1
    assert "not run: params.yaml: all sections: a pair may take" in capsys.readouterr().out


def test_figures_of_other_examples_are_no_figures(project, capsys):
    run_with, _, _ = project

    def other_set(one):
        good(one)
        one.remembered.sets = {"summarize": f"set-{one.number // 3}"}

    run_with(other_set)
    assert run_search("pretrain.lr=1e-4..1e-2:log", trials=4) == 0
    told = capsys.readouterr().out
    assert "4 trials: 2 done, 2 failed" in told
    assert "failed: measured on examples set-1, rougeL|x, and the others on" in told


def test_a_search_that_fails_throughout_says_so(project, capsys):
    run_with, _, _ = project

    def fails(one):
        one.remembered.status, one.remembered.exit_status = "failed", 65

    run_with(fails)
    assert run_search("pretrain.lr=1e-4..1e-2:log", trials=3) == 65
    assert "None has a figure" in capsys.readouterr().out


def test_without_optuna_the_install_line_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ParamsError, match=r"pip install 'wordmill\[search\]'.*-e '\.\[search\]'"):
        run_search("pretrain.lr=1e-4..1e-2:log")


def test_a_dry_search_says_what_it_would_draw_from(project, capsys):
    assert run_search(*ASKED, is_dry=True, trials=9) == 0
    told = capsys.readouterr().out
    assert "9 trials (random) for summarize/rougeL, higher is better" in told
    assert "pretrain.lr               0.0001..0.01:log" in told
    assert 'clean.mask                ["email"], []' in told
