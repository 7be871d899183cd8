"""Two files that should hold the same: where they first differ, and NaN."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from wordmill.comparing.first_difference import first_difference, nan_in

WEIGHTS = {"a.bias": torch.zeros(3), "b.weight": torch.ones(2, 2), "c.weight": torch.ones(4)}


@pytest.fixture
def pair(tmp_path):
    def make(name, old, new):
        files = [tmp_path / which / name for which in ("old", "new")]
        for file, content in zip(files, (old, new), strict=True):
            file.parent.mkdir(exist_ok=True)
            if isinstance(content, dict):
                save_file(content, file)
            else:
                file.write_bytes(content.encode())
        return files

    return make


def changed(**tensors):
    return {**WEIGHTS, **{name.replace("_", "."): value for name, value in tensors.items()}}


def test_the_same_files_do_not_differ(pair):
    for name, content in (
        ("m.safetensors", WEIGHTS),
        ("a.csv", "step,loss\n1,2.0"),
        ("x.bin", "x"),
    ):
        assert first_difference(*pair(name, content, content)) == ""


def test_the_first_tensor_is_named_with_its_distance(pair):
    other = torch.ones(2, 2)
    other[1, 0] += 0.25
    one = changed(b_weight=other)
    assert (
        first_difference(*pair("m.safetensors", WEIGHTS, one))
        == "tensor b.weight, max |difference| 0.25"
    )
    two = {**one, "c.weight": torch.full((4,), 3.0)}
    assert (
        first_difference(*pair("m.safetensors", WEIGHTS, two))
        == "tensor b.weight, max |difference| 0.25; 2 of 3 tensors differ, most c.weight by 2"
    )


def test_the_last_bit_of_one_number_counts(pair):
    other = torch.ones(2, 2)
    other[0, 1] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    told = first_difference(*pair("m.safetensors", WEIGHTS, changed(b_weight=other)))
    assert told == "tensor b.weight, max |difference| 1.19e-07"


def test_tensors_of_another_form(pair):
    told = first_difference(*pair("m.safetensors", WEIGHTS, changed(b_weight=torch.ones(2, 3))))
    assert told == "tensor b.weight was (2, 2) float32, is (2, 3) float32"
    told = first_difference(*pair("m.safetensors", WEIGHTS, changed(a_bias=torch.zeros(3).half())))
    assert told == "tensor a.bias was (3,) float32, is (3,) float16"
    told = first_difference(*pair("m.safetensors", WEIGHTS, {"a.bias": torch.zeros(3)}))
    assert told == "tensor b.weight is gone"


def test_nan_in_weights_differs_from_itself(pair):
    broken = changed(c_weight=torch.tensor([1.0, float("nan"), 1.0, 1.0]))
    old, new = pair("m.safetensors", broken, broken)
    assert first_difference(old, new) == "tensor c.weight has NaN"
    assert nan_in(new) == "NaN in c.weight"
    assert nan_in(pair("m.safetensors", WEIGHTS, WEIGHTS)[1]) == ""


def test_infinities_are_what_they_are(pair):
    masked = changed(a_bias=torch.tensor([0.0, float("-inf"), 0.0]))
    assert first_difference(*pair("m.safetensors", masked, masked)) == ""
    told = first_difference(*pair("m.safetensors", WEIGHTS, masked))
    assert told == "tensor a.bias, max |difference| inf"


def test_minus_zero_is_another_byte(pair):
    told = first_difference(*pair("m.safetensors", WEIGHTS, changed(a_bias=-torch.zeros(3))))
    assert told.startswith("byte ")


def test_a_row_of_a_curve(pair):
    old, new = pair("training.csv", "step,loss\n1,2.0\n2,1.5\n", "step,loss\n1,2.0\n2,1.4\n")
    assert first_difference(old, new) == "row 3 (loss 1.5 is 1.4)"
    old, new = pair("training.csv", "step,loss\n1,2.0", "step,loss\n1,2.0\n2,1.4")
    assert first_difference(old, new) == "row 3 is new: '2,1.4'"
    nan = "step,loss\n1,2.0\n2,nan\n"
    old, new = pair("training.csv", nan, nan)
    assert nan_in(new) == "NaN in row 3"
    assert first_difference(old, new) == "NaN in row 3"


def test_a_row_of_predictions(pair):
    rows = [{"system": "finetuned", "id": str(i), "prediction": f"text {i}"} for i in range(3)]
    other = [*rows[:1], {**rows[1], "prediction": "another"}, rows[2]]
    old, new = pair("p.jsonl", *("\n".join(map(json.dumps, which)) for which in (rows, other)))
    assert first_difference(old, new) == "row 2 (finetuned, 1): prediction 'text 1' is 'another'"


def test_a_value_of_a_record(pair):
    was = {"pairs": {"write": [1.0, 2.0]}, "n": 1}
    now = {"pairs": {"write": [1.0, 2.5]}, "n": 1}
    old, new = pair("scores.json", json.dumps(was), json.dumps(now))
    assert first_difference(old, new) == "pairs.write[1] 2.0 is 2.5"
    old, new = pair("scores.json", json.dumps({"a": 1, "b": 2}), json.dumps({"a": 1}))
    assert first_difference(old, new) == "b 2 is gone"
    nan = '{"a": {"b": NaN}}'
    old, new = pair("scores.json", nan, nan)
    assert nan_in(new) == "NaN in a.b"
    assert first_difference(old, new) != ""


def test_a_row_of_a_table(tmp_path):
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"]}), old)
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "z"]}), new)
    assert first_difference(old, new) == "row 2: text 'y' is 'z'"


def test_bytes_and_broken_files(pair):
    assert first_difference(*pair("x.bin", "abcd", "abXd")) == "byte 2"
    assert first_difference(*pair("x.bin", "abcd", "abc")) == "byte 3"
    assert "can't be read as .json" in first_difference(*pair("x.json", "{}", "{"))
    told = first_difference(*pair("m.safetensors", WEIGHTS, "broken"))
    assert told.startswith("can't be read as .safetensors: ")
