import pytest
import torch
from conftest import SMALL_PARAMS
from transformers import BloomConfig, GPT2Config, OPTConfig, Qwen2Config
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from wordmill.errors import ParamsError
from wordmill.models.apart import check_apart
from wordmill.models.building import new_model
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.model import ModelParams

GPT2 = GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2)
QWEN2 = Qwen2Config(
    vocab_size=32,
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
)
OPT = OPTConfig(
    vocab_size=32,
    hidden_size=16,
    num_hidden_layers=1,
    ffn_dim=16,
    num_attention_heads=2,
    max_position_embeddings=16,
    word_embed_proj_dim=16,
)
BLOOM = BloomConfig(vocab_size=32, hidden_size=16, n_layer=1, n_head=2)


def loud(model):
    """Weights so large that what is seen shows."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(10)
    return model


@pytest.mark.parametrize("config", [GPT2, QWEN2], ids=["gpt2", "qwen2"])
def test_models_that_go_by_positions_keep_texts_apart(config):
    torch.manual_seed(0)
    model = loud(AutoModelForCausalLM.from_config(config)).train()
    check_apart(model, key="finetune.pair_packing", instead="bucket")
    assert model.training


def test_our_decoder_keeps_texts_apart():
    shape = ModelParams(**SMALL_PARAMS["model"])
    model = loud(new_model(shape, Vocabulary(32, end_id=0, pad_id=1), seed=0))
    check_apart(model, key="finetune.pair_packing", instead="bucket")


@pytest.mark.parametrize("config", [OPT, BLOOM], ids=["opt", "bloom"])
def test_models_that_do_not_are_refused(config):
    torch.manual_seed(0)
    model = loud(AutoModelForCausalLM.from_config(config))
    with pytest.raises(ParamsError, match="does not keep texts of one row apart; set it to 'bu"):
        check_apart(model, key="finetune.pair_packing", instead="bucket")
