"""Grids of params: what is parsed, typed, multiplied and refused."""

import pytest
from conftest import SMALL_PARAMS

from flows.grid import changed, combinations, nested, planned_keys
from wordmill.errors import ParamsError


def grid(*asked, seeds=None, folds=None, values=SMALL_PARAMS):
    found = combinations(list(asked), num_seeds=seeds, num_folds=folds, values=values)
    return [one.changes for one in found]


def refusal(*asked, **counts) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        grid(*asked, **counts)
    assert caught.value.exit_status == 2
    return str(caught.value).splitlines()


def test_the_grid_is_the_product_of_lists_and_seeds():
    found = grid("pretrain.lr=1e-3,3e-4", "model.kind=decoder,lstm", seeds=3)
    assert len(found) == 12
    assert found[0] == {"pretrain.lr": 0.001, "model.kind": "decoder", "seed": 7}
    assert found[-1] == {"pretrain.lr": 0.0003, "model.kind": "lstm", "seed": 9}
    assert len({tuple(one.values()) for one in found}) == 12


def test_a_fold_is_a_cell_as_a_seed_is():
    found = grid("pretrain.lr=1e-3,3e-4", folds=3, seeds=2)
    assert len(found) == 12
    assert [one["ingest.fold"] for one in found[:6:2]] == ["1 of 3", "2 of 3", "3 of 3"]
    assert found[0] == {"pretrain.lr": 0.001, "ingest.fold": "1 of 3", "seed": 7}


def test_folds_that_contradict_something_are_refused():
    assert refusal(folds=1) == ["--folds 1: must be 2 or more"]
    assert refusal("ingest.fold=1 of 2", folds=2) == [
        "--folds and -S ingest.fold: give one of them"
    ]
    assert refusal("ingest.test_fraction=0.1,0.2", folds=4) == [
        "--folds and -S ingest.test_fraction: a fold's test set is 1/4"
    ]


def test_nothing_asked_is_one_experiment_as_it_is():
    assert grid() == [{}]


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ("pretrain.lr=1e-3", 0.001),
        ("pretrain.dropout=0", 0.0),
        ("pretrain.batch_size=4", 4),
        ("pretrain.length=750 steps", "750 steps"),
        ("clean.mask=[email, phone]", ["email", "phone"]),
        ("evaluate.decoding.stop=['a,b']", ["a,b"]),
        ("pretrain.is_gradient_checkpointed=true", True),
        ("pretrain.patience_validations=2", 2),
        ("clean.blocklist=null", None),
        ("registry.name='12'", "12"),
        ("registry.name=12", "12"),
    ],
)
def test_a_value_takes_the_type_of_its_key(asked, value):
    ((found,),) = (one.values() for one in grid(asked))
    assert found == value
    assert type(found) is type(value)


def test_commas_in_brackets_and_quotes_part_nothing():
    assert [one["clean.mask"] for one in grid("clean.mask=[email, phone],[]")] == [
        ["email", "phone"],
        [],
    ]
    found = grid('evaluate.decoding.stop=["x, y"],["]"]')
    assert [one["evaluate.decoding.stop"] for one in found] == [["x, y"], ["]"]]


def test_every_problem_is_said_at_once():
    lines = refusal("pretrain.lrr=1", "model=decoder", "seed", "pretrain.lr=,1", seeds=0)
    assert lines == [
        "-S pretrain.lrr: unknown key; did you mean 'pretrain.lr'?",
        "-S model: holds keys; name one, such as model.kind",
        "-S seed: must be KEY=VALUE or KEY=VALUE,VALUE",
        "-S pretrain.lr=,1: a value is empty; null says none, '' an empty text",
        "--seeds 0: must be 1 or more",
    ]


def test_a_key_without_its_section_is_recognized():
    (line,) = refusal("warmup_steps=3")
    assert "did you mean 'pretrain.warmup_steps'?" in line


def test_a_key_below_a_value_is_refused():
    (line,) = refusal("seed.x=3")
    assert line == "-S seed.x: unknown key; did you mean 'seed'?"


def test_each_combination_is_checked_as_params():
    lines = refusal("pretrain.lr=-1,0.1", "model.kind=decoder,mlp")
    assert len(lines) == 2
    assert lines[0].startswith("pretrain.lr=-1, model.kind=decoder: pretrain.lr: must be greater")
    assert lines[0].endswith("(and 1 more of 4)")
    assert "model.kind: must be 'decoder'" in lines[1]


def test_doubles_are_refused():
    assert refusal("pretrain.lr=1e-3,0.001") == ["-S pretrain.lr: 0.001 is given twice"]
    assert refusal("seed=1", "seed=2") == ["-S seed: given twice"]
    assert refusal("seed=1", seeds=2) == ["--seeds and -S seed: give one of them"]


def test_changes_as_sections_and_back():
    changes = {"pretrain.lr": 0.5, "seed": 3, "evaluate.decoding.seed": 4}
    assert nested(changes) == {
        "pretrain": {"lr": 0.5},
        "seed": 3,
        "evaluate": {"decoding": {"seed": 4}},
    }
    values = changed(SMALL_PARAMS, changes)
    assert values["evaluate"]["decoding"]["seed"] == 4
    assert SMALL_PARAMS["seed"] == 7  # what was given stays


def test_stages_that_read_the_same_share_a_key():
    dag = {
        "stages": {
            "a": {"cmd": "a", "deps": ["raw"], "params": ["seed"], "outs": ["data/a"]},
            "b": {"cmd": "b", "deps": ["data/a/x"], "params": ["pretrain.lr"], "outs": ["data/b"]},
            "c": {"cmd": "c", "deps": ["raw"], "params": ["registry"], "outs": ["data/c"]},
        }
    }

    def keys(**changes):
        values = changed(SMALL_PARAMS, {k.replace("__", "."): v for k, v in changes.items()})
        return planned_keys(["a", "b", "c"], dag=dag, values=values)

    plain, other_lr, other_seed = keys(), keys(pretrain__lr=0.5), keys(seed=8)
    assert [plain[n] == other_lr[n] for n in "abc"] == [True, False, True]
    assert [plain[n] == other_seed[n] for n in "abc"] == [False, False, True]
