"""Personal data out, typed placeholders in.

A pattern finds candidates and a check decides: a checksum where the kind has one
(python-stdnum), the address's own rules where it is an address. Patterns start only where a run
starts, so that no text costs more than its length.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stdnum import iban, luhn
from stdnum.cn import ric
from stdnum.us import ssn

from wordmill.params.clean import MaskedKind

# Texts without one of these hold no candidate; most texts end here.
_EMAIL_HINT = "@"
_NUMBER_HINT = re.compile(
    r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d|\d(?:[ .()/-]{0,3}[\dA-Z]){6}|:[\dA-Fa-f]{0,4}:"
)
_NOT_DIGITS = re.compile(r"\D")


def mask(text: str, kinds: Sequence[MaskedKind]) -> tuple[str, Counter[str]]:
    """Replace personal data of the given kinds; returns how many of each were found."""
    found: Counter[str] = Counter()
    has_number = _NUMBER_HINT.search(text) is not None
    for kind, rules in _RULES.items():
        is_possible = _EMAIL_HINT in text if kind == "email" else has_number
        if kind in kinds and is_possible:
            for rule in rules:
                text, count = _replaced(text, rule, placeholder(kind))
                found[kind] += count
    return text, +found


def placeholder(kind: MaskedKind) -> str:
    """What stands where personal data stood."""
    return f"<{kind.upper()}>"


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]


def _replaced(text: str, rule: _Rule, stand_in: str) -> tuple[str, int]:
    count = 0

    def decide(match: re.Match[str]) -> str:
        nonlocal count
        if not rule.is_valid(match[0]):
            return match[0]
        count += 1
        return stand_in

    return rule.pattern.sub(decide, text), count


def _always(_: str) -> bool:
    return True


def _is_card(text: str) -> bool:
    digits = _NOT_DIGITS.sub("", text)
    is_issued = digits[0] in "3456" or "2221" <= digits[:4] <= "2720"  # ISO/IEC 7812 networks
    return is_issued and len(set(digits)) > 1 and luhn.is_valid(digits)


def _is_public_address(text: str) -> bool:
    is_short = ":" in text and len([part for part in text.split(":") if part]) < 3  # x[::3]
    try:
        # A private one tells nobody apart.
        return not is_short and ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _is_phone(text: str) -> bool:
    return 7 <= len(_NOT_DIGITS.sub("", text)) <= 15  # E.164


_GAP = r"[ .-]?"
_RULES: dict[MaskedKind, tuple[_Rule, ...]] = {
    "email": (
        _Rule(
            re.compile(
                r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}"
            ),
            _always,
        ),
    ),
    "iban": (
        _Rule(
            re.compile(
                r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}"
                r"(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"
            ),
            iban.is_valid,
        ),
    ),
    "china_id": (_Rule(re.compile(r"(?<![\dA-Za-z])\d{17}[\dXx](?![\dA-Za-z])"), ric.is_valid),),
    "card": (_Rule(re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])"), _is_card),),
    "us_ssn": (_Rule(re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"), ssn.is_valid),),
    "ip": (
        _Rule(re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)"), _is_public_address),
        _Rule(
            re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"),
            _is_public_address,
        ),
    ),
    "phone": (
        # International; North America; China: mobile, then with an area code.
        _Rule(
            re.compile(
                rf"(?<![\w+])\+\d{{1,3}}{_GAP}(?:\(\d{{1,4}}\){_GAP})?\d(?:{_GAP}\d){{5,12}}(?!\d)"
            ),
            _is_phone,
        ),
        _Rule(re.compile(r"(?<![\w.-])(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[-.]\d{4}(?![\w-])"), _always),
        _Rule(
            re.compile(r"(?<![\w.-])1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![\dA-Za-z])", re.ASCII), _always
        ),
        _Rule(re.compile(r"(?<![\w.-])0\d{2,3}-\d{7,8}(?![\dA-Za-z-])", re.ASCII), _always),
    ),
}
