"""Perplexity by token and by word and bits per byte, from each document's likelihood."""

import re
from collections.abc import Sequence

import numpy as np

from wordmill.metrics.score import Floats, Statistics

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U00031fff"
_WORD = re.compile(rf"[{_HAN}]|[^\s{_HAN}]+")


def document_statistics(
    nll: Floats,
    *,
    num_tokens: Floats,
    num_words: Floats,
    num_bytes: Floats,
    tokenizer: str,
    signature: str,
) -> dict[str, Statistics]:
    """Perplexities and bits per byte, lower is better.

    `perplexity` is exp(sum of NLL / number of tokens), end tokens counted; it compares models of
    the same tokenizer. `word_perplexity` is exp(sum of NLL / (words + line ends)) (Jelinek et
    al. 1977, https://doi.org/10.1121/1.2016299; as Merity et al. 2017 count line ends,
    https://arxiv.org/abs/1609.07843) and `bits_per_byte` sum of NLL / (ln 2 * UTF-8 bytes) (Gao
    et al. 2020, https://arxiv.org/abs/2101.00027): both compare models of any tokenizer on the
    same text. The end of a document is an event that is counted, so that an empty document has
    one token and one line end; documents of no byte at all have NaN bits per byte. What a text
    is like to a reader is left out.

    Args:
        nll: negative log-likelihood of each document with its end, in nats, shape (N,).
        num_tokens: with the end token, shape (N,).
        num_words: words and line ends, as `count_words` says, shape (N,).
        num_bytes: in UTF-8, shape (N,).
        tokenizer: fingerprint, part of the signature of what counts tokens.
        signature: how all the systems that are compared score: not what one of them is.
    """
    units = {
        "perplexity": (num_tokens, perplexity_of, f"tokens|tokenizer:{tokenizer}"),
        "word_perplexity": (num_words, perplexity_of, "words,han-characters,line-ends"),
        "bits_per_byte": (num_bytes * np.log(2), mean_nll_of, "utf-8-bytes"),
    }
    return {
        name: Statistics(
            values=np.stack((nll, unit), axis=1),
            final=final,
            signature=f"{name}|by:{what}|{signature}",
            is_lower_better=True,
        )
        for name, (unit, final, what) in units.items()
    }


def count_words(texts: Sequence[str]) -> Floats:
    """Words and line ends of each text, shape (N,).

    A word is what stands between spaces, a single character in Chinese; the end of the text
    ends a line.
    """
    counts = [len(_WORD.findall(text)) + text.count("\n") + 1 for text in texts]
    return np.array(counts, dtype=np.float64)


def perplexity_of(sums: Floats) -> Floats:
    """Perplexity, exp of mean NLL, shape (S,); infinite where float64 cannot hold it.

    Args:
        sums: of NLL in nats and of units, shape (S, 2).
    """
    with np.errstate(over="ignore"):
        return np.exp(mean_nll_of(sums))


def mean_nll_of(sums: Floats) -> Floats:
    """NLL by unit, shape (S,), NaN where there is no unit."""
    no_value = np.full(len(sums), np.nan)
    return np.divide(sums[:, 0], sums[:, 1], out=no_value, where=sums[:, 1] > 0)
