"""Tokenizers that are trained here, each from the same texts and the same few params.

- `byte-bpe` (https://arxiv.org/abs/1909.03341) and `unigram` (https://arxiv.org/abs/1804.10959)
  work on bytes: no text is unknown to them and every text comes back from its ids. Both see
  text in the pieces of GPT-2's pattern. For Chinese a piece is a whole clause; splitting Han
  letters off or after four of them gave no more bytes a token (docs/log.md), so one pattern
  serves all.
- `word`: a word is a run of letters with the space before it; a Han character is a word by
  itself; so is a punctuation mark. Scripts without spaces (Thai, kana) come as whole runs.
- `char`: a character is a token.

Words and characters outside the vocabulary are unknown; what is known comes back as it was.
"""

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from wordmill.params.tokenize import TokenizeParams
from wordmill.tokens.tokenizer import END, PAD, UNKNOWN, batched

GPT2_PIECES = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    # https://github.com/openai/gpt-2/blob/master/src/encoder.py, with shared prefixes
)
_NUMBER, _DIGIT = r" ?\p{N}+", r"\p{N}"
_LETTERS = r"[\p{L}\p{M}&&[^\p{Han}]]+"
_WORDS = (
    rf"\p{{Han}}| ?{_LETTERS}(?:['’]{_LETTERS})*|{_NUMBER}"
    r"| ?[^\s\p{L}\p{M}\p{N}]|\s+(?!\S)|\s+"
)
_CHARACTERS = r"[\s\S]"

_TEXTS_A_BATCH = 1000
# Scores of equal text differ in the last digits from run to run: sums in a hash map's order.
_SCORE_DIGITS = 6
_SCORE_STEP = 1e-4
_NEVER_MET = "ÿ"  # the byte 0xFF, which no UTF-8 text has


class _Kind(NamedTuple):
    """How a kind splits text, what it learns, and how it is put together again."""

    pieces: str
    is_on_bytes: bool
    model: Callable[[], models.Model]
    trainer: Callable[[TokenizeParams, list[str]], trainers.Trainer]


def learn(
    texts: Iterable[str], params: TokenizeParams, *, context_tokens: int
) -> PreTrainedTokenizerFast:
    """Train a tokenizer; the same texts give the same one.

    Args:
        texts: what to learn from.
        params: the `tokenize` section, of any kind but `checkpoint`.
        context_tokens: the longest sequence of the models that use it.
    """
    kind = _KINDS[params.kind]
    special_tokens = [END, PAD, *([] if kind.is_on_bytes else [UNKNOWN]), *params.special_tokens]
    pieces = kind.pieces.replace(_NUMBER, _DIGIT) if params.split_digits else kind.pieces
    tokenizer = Tokenizer(kind.model())
    tokenizer.pre_tokenizer = _pre_tokenizer(pieces, is_on_bytes=kind.is_on_bytes)
    tokenizer.decoder = decoders.ByteLevel() if kind.is_on_bytes else decoders.Fuse()
    trainer = kind.trainer(params, special_tokens)
    tokenizer.train_from_iterator(batched(texts, _TEXTS_A_BATCH), trainer)
    if params.kind == "unigram":
        tokenizer.model = _in_fixed_order(tokenizer)
        tokenizer.add_special_tokens(special_tokens)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        unk_token=None if kind.is_on_bytes else UNKNOWN,
        model_max_length=context_tokens,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )


def _pre_tokenizer(pieces: str, *, is_on_bytes: bool) -> pre_tokenizers.PreTokenizer:
    if is_on_bytes and pieces == GPT2_PIECES:  # in one pass: training is a fifth faster
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    split = pre_tokenizers.Split(Regex(pieces), "isolated")
    if not is_on_bytes:
        return split
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, to_bytes])


def _in_fixed_order(tokenizer: Tokenizer) -> models.Unigram:
    """The model trained, made the same for the same texts.

    The trainer gives letters that it never met scores that fall by one step each, in the order
    of a hash map: here they get the same scores in alphabetic order.
    """
    found = json.loads(tokenizer.to_str())["model"]["vocab"]
    num_special = len(tokenizer.get_added_tokens_decoder())
    score_of: dict[str, float] = dict(found[num_special:])
    steps = {
        letter: (score_of[_NEVER_MET] - score_of[letter]) / _SCORE_STEP
        for letter in pre_tokenizers.ByteLevel.alphabet()
    }
    never_met = sorted(c for c, step in steps.items() if abs(step - round(step)) < _SCORE_STEP)
    scores = sorted((score_of[letter] for letter in never_met), reverse=True)
    score_of.update(zip(never_met, scores, strict=True))
    ranked = sorted((-round(score, _SCORE_DIGITS), piece) for piece, score in score_of.items())
    return models.Unigram([*map(tuple, found[:num_special]), *((p, -s) for s, p in ranked)])


def _bpe_trainer(params: TokenizeParams, special_tokens: list[str]) -> trainers.Trainer:
    return trainers.BpeTrainer(
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        special_tokens=special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )


def _unigram_trainer(params: TokenizeParams, special_tokens: list[str]) -> trainers.Trainer:
    return trainers.UnigramTrainer(
        vocab_size=params.vocab_size,
        special_tokens=special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )


def _word_trainer(params: TokenizeParams, special_tokens: list[str]) -> trainers.Trainer:
    return trainers.WordLevelTrainer(
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        special_tokens=special_tokens,
        show_progress=False,
    )


def _word_model() -> models.Model:
    return models.WordLevel(unk_token=UNKNOWN)


_KINDS = {
    "byte-bpe": _Kind(GPT2_PIECES, True, models.BPE, _bpe_trainer),
    "unigram": _Kind(GPT2_PIECES, True, models.Unigram, _unigram_trainer),
    "word": _Kind(_WORDS, False, _word_model, _word_trainer),
    "char": _Kind(_CHARACTERS, False, _word_model, _word_trainer),
}
