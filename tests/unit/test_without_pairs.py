"""Documents alone are enough: finetuning hands the pretrained model on, whatever its family."""

from types import SimpleNamespace

import pytest
from conftest import SMALL_PARAMS, small_texts, small_tokenizer

import stages.finetune
from wordmill.models.building import new_model
from wordmill.models.folder import save_model
from wordmill.models.ngram_model import NgramModel
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.params.training import FinetuneParams
from wordmill.tokens.store import running_text
from wordmill.tokens.tokenizer import encode_batch, end_id


@pytest.mark.parametrize("kind", ["decoder", "ngram"])
def test_a_model_goes_on_as_it_is(kind, tmp_path, monkeypatch):
    texts = small_texts(50, seed=1)
    tokenizer = small_tokenizer(texts)
    vocabulary = vocabulary_of(tokenizer)
    params = ModelParams(**{**SMALL_PARAMS["model"], "kind": kind})
    if kind == "ngram":
        text = running_text(encode_batch(tokenizer, texts), end_id=end_id(tokenizer))
        model = NgramModel.train(text, order=3, vocabulary=vocabulary)
    else:
        model = new_model(params, vocabulary, seed=1)
    save_model(tmp_path / "model", model, tokenizer)
    sections = {"model": params, "finetune": FinetuneParams(**SMALL_PARAMS["finetune"])}
    stage = SimpleNamespace(input=lambda _: tmp_path, section=lambda name, _: sections[name])
    monkeypatch.setattr(stages.finetune, "has_pairs", lambda *_: False)
    handed_on = []
    monkeypatch.setattr(
        stages.finetune, "save_as_is", lambda _, model, *__, **___: handed_on.append(model)
    )
    stages.finetune.main(stage)
    assert [one.num_parameters() for one in handed_on] == [model.num_parameters()]
