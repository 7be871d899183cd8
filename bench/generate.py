"""How fast are answers decoded, against transformers' `generate`?

    python bench/generate.py [--new-tokens 64] [--prompt-tokens 24] [--rounds 7] [--sizes default]

The same model with random weights, the same prompts, as many new tokens; greedy ids are checked to
be the same in the run. `wordmill` is the step that the engine takes for the model, `plain loop` the
one it takes for any causal model of transformers. Rounds are interleaved, forwards and backwards in
turn; the table has the median of tokens a second, and of the ratio within a round.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML
from tables import table
from transformers import GenerationConfig

from wordmill.generation.answers import Said
from wordmill.generation.choosing import Choice
from wordmill.generation.loop import Asked, decode
from wordmill.generation.padding import left_padded, right_padded
from wordmill.generation.steppers import CausalStepper, Stepper, new_stepper
from wordmill.models.building import new_model
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.decoding import DecodingParams
from wordmill.params.model import ModelParams

PARAMS = YAML(typ="safe").load(Path(__file__).parents[1] / "params.yaml")
VOCABULARY = Vocabulary(4096, end_id=0, pad_id=1)
# A token that no answer says: all go on to the last step.
NO_END = 10**6
BATCHES = (1, 8, 64)
SIZES: dict[str, dict[str, Any]] = {
    "default": {"kind": "decoder"},
    "mid": {
        "kind": "decoder",
        "decoder": {
            "num_layers": 8,
            "hidden_size": 384,
            "num_heads": 6,
            "num_kv_heads": 6,
            "feed_forward_size": 1024,
            "is_embedding_tied": True,
        },
    },
    "t5": {"kind": "encoder-decoder"},
    "lstm": {"kind": "lstm"},
}
Ids = list[list[int]]
Way = Callable[[Ids], Ids]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--prompt-tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["default", "mid"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(table(rows(asked)))


def rows(asked: argparse.Namespace) -> Iterator[list[str]]:
    """A row for each model and batch."""
    yield ["model", "batch", "generate, tokens/s", "plain loop", "wordmill", "times", "same ids"]
    for size in asked.sizes:
        model = random_model(SIZES[size]).to(asked.device)
        ways = ways_of(model, asked.new_tokens)
        for batch in BATCHES:
            prompts = prompts_of(batch, asked.prompt_tokens)
            ids = {name: way(prompts) for name, way in ways.items()}
            seconds = timed(ways, prompts, asked.rounds)
            made = batch * asked.new_tokens
            rates = {name: made / statistics.median(found) for name, found in seconds.items()}
            pairs = zip(seconds["generate"], seconds["wordmill"], strict=True)
            times = statistics.median(theirs / ours for theirs, ours in pairs)
            same = [same_rows(ids["generate"], found) for found in ids.values()]
            shown = (f"{rates[name]:,.0f}" if name in rates else "" for name in WAYS)
            yield [size, str(batch), *shown, f"{times:.2f}", f"{min(same)} of {batch}"]


WAYS = ("generate", "plain loop", "wordmill")


def ways_of(model: Any, new_tokens: int) -> dict[str, Way]:
    """From prompts to new ids, each way."""
    found: dict[str, Way] = {"generate": lambda prompts: generated(model, prompts, new_tokens)}
    if not model.config.is_encoder_decoder:
        plain = CausalStepper(model, pad_id=VOCABULARY.pad_id)
        found["plain loop"] = lambda prompts: looped(plain, model, prompts, new_tokens)
    found["wordmill"] = lambda prompts: looped(
        new_stepper(model, pad_id=VOCABULARY.pad_id), model, prompts, new_tokens
    )
    return found


def timed(ways: dict[str, Way], prompts: Ids, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for _ in range(rounds):
        for name in order:
            started_at = time.perf_counter()
            ways[name](prompts)
            seconds[name].append(time.perf_counter() - started_at)
        order.reverse()
    return seconds


def random_model(changes: dict[str, Any]) -> Any:
    """A model whose weights are large enough that the best token is no near tie."""
    params = ModelParams(**{**PARAMS["model"], **changes})
    model = new_model(params, VOCABULARY, seed=1).eval()
    draw = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1, generator=draw)
    return model


def prompts_of(batch: int, longest: int) -> Ids:
    """Prompts of unequal length, from half the longest to the longest."""
    draw = torch.Generator().manual_seed(batch)
    lengths = [longest - i * (longest // 2) // batch for i in range(batch)]
    return [[0, *torch.randint(2, 4096, (n - 1,), generator=draw).tolist()] for n in lengths]


@torch.inference_mode()
def generated(model: Any, prompts: Ids, new_tokens: int) -> Ids:
    """What transformers makes."""
    has_encoder = model.config.is_encoder_decoder
    pad = right_padded if has_encoder else left_padded
    padded = pad(prompts, pad_id=VOCABULARY.pad_id, device=model.device)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=new_tokens,
        eos_token_id=None,
        pad_token_id=VOCABULARY.pad_id,
        decoder_start_token_id=0 if has_encoder else None,
    )
    model.generation_config.eos_token_id = None
    mask = torch.ones_like(padded.ids) if padded.mask is None else padded.mask
    output = model.generate(input_ids=padded.ids, attention_mask=mask, generation_config=config)
    return output[:, -new_tokens:].tolist()


def looped(stepper: Stepper | None, model: Any, prompts: Ids, new_tokens: int) -> Ids:
    """What the engine's loop makes."""
    assert stepper is not None
    decoding = DecodingParams(**{**PARAMS["evaluate"]["decoding"], "max_new_tokens": new_tokens})
    said = [Said() for _ in prompts]
    asked = Asked(prompts, prompts, None, new_tokens, NO_END)
    choice = Choice(decoding, end_id=NO_END)
    list(decode(stepper, choice, asked, said=said, is_stopped=lambda ids: False))
    return [one.ids for one in said]


def same_rows(one: Ids, other: Ids) -> int:
    """How many answers are the same, token by token."""
    return sum(a == b for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
