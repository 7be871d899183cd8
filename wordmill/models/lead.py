"""The lead baseline: the first sentence is often the best summary that costs nothing."""

import re

# A full stop ends a sentence before a space; Chinese and Japanese ones end it by themselves.
_SENTENCE = re.compile(r".+?(?:[.!?](?=\s|$)|[。！？]|\n\s*\n|$)", re.DOTALL)


def first_sentence(text: str) -> str:
    """The first sentence of `text` on one line, its first paragraph if no sentence ends."""
    match = _SENTENCE.match(text.strip())
    return " ".join(match[0].split()) if match else ""
