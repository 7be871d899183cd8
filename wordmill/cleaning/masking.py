"""Personal data out, typed placeholders in.

A pattern finds candidates and a check decides: a checksum where the kind has one
(python-stdnum), the address's own rules where it is an address. Patterns start only where a run
starts, so that no text costs more than its length.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stdnum import iban, luhn
from stdnum.cn import ric
from stdnum.us import ssn

from wordmill.params.clean import MaskedKind

# Texts without one of these hold no candidate; most texts end here. A pattern that starts with
# one plain character, or with a set of them, is looked for ten times as fast.
_AT_DOMAIN = re.compile(r"@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}")
# Letters with marks too; of Chinese, which has no spaces, a name's length at most.
_LOCAL_PART = re.compile(r"(?:[A-Za-z0-9._%+'À-ɏ-]+|[㐀-鿿]{1,4})\Z")
_MAX_LOCAL_CHARS = 64
# Between the groups of a number: spaces, also those that do not break, and dashes.
_BLANK = "\u00a0\u2007\u2009\u202f "
_DASH = "\u2010\u2011\u2012\u2013-"
_NUMBER_HINT = re.compile(rf"[0-9](?:[.()/{_BLANK}{_DASH}]{{0,3}}[0-9A-Z]){{6}}")
_IP_HINT = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9])")
_IPV6_HINT = re.compile(r":[0-9A-Fa-f]{0,4}:")
_MIN_DIGITS = 4
_ALL_BUT_DIGITS = bytes(sorted(set(range(256)) - set(b"0123456789")))
_NOT_DIGITS = re.compile(r"\D")
_GROUP = re.compile(r"[0-9A-Z]+")
_MAX_GROUPS = 19  # of a card written digit by digit


def mask(text: str, kinds: Sequence[MaskedKind]) -> tuple[str, dict[str, int]]:
    """Replace personal data of the given kinds; returns how many of each were found."""
    text, found = _masked(text, kinds)
    return text, {kind: len(values) for kind, values in found.items()}


def personal_data(text: str, kinds: Sequence[MaskedKind]) -> dict[MaskedKind, list[str]]:
    """What `mask` would replace, as it is written, by kind."""
    return _masked(text, kinds)[1]


def _masked(text: str, kinds: Sequence[MaskedKind]) -> tuple[str, dict[MaskedKind, list[str]]]:
    found: dict[MaskedKind, list[str]] = {}
    if "@" in text and "email" in kinds and _AT_DOMAIN.search(text):
        text, values = _without_emails(text)
        found |= {"email": values} if values else {}
    digits = text.encode(errors="replace").translate(None, _ALL_BUT_DIGITS)
    if len(digits) < _MIN_DIGITS and "::" not in text:
        return text, found
    rules: list[tuple[MaskedKind, _Rule]] = [
        (kind, rule) for kind in _RULES if kind in kinds for rule in _RULES[kind]
    ]
    is_possible = {rule.hint: rule.hint.search(text) is not None for _, rule in rules}
    for kind, rule in rules:
        if is_possible[rule.hint]:
            text, values = _replaced(text, rule, placeholder(kind))
            found |= {kind: [*found.get(kind, []), *values]} if values else {}
    return text, found


def _without_emails(text: str) -> tuple[str, list[str]]:
    """Addresses are found by their domain: every other character could start one."""
    parts: list[str] = []
    values: list[str] = []
    done = 0
    for match in _AT_DOMAIN.finditer(text):
        at = match.start()
        local = _LOCAL_PART.search(text, max(done, at - _MAX_LOCAL_CHARS), at)
        if local:
            parts += (text[done : local.start()], placeholder("email"))
            done = match.end()
            values.append(text[local.start() : done])
    return "".join((*parts, text[done:])), values


def placeholder(kind: MaskedKind) -> str:
    """What stands where personal data stood."""
    return f"<{kind.upper()}>"


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    hint: re.Pattern[str] = _NUMBER_HINT
    is_grouped: bool = False
    """Whether neighbours may have been taken in: then a part of the groups may be valid."""


def _replaced(text: str, rule: _Rule, stand_in: str) -> tuple[str, list[str]]:
    values: list[str] = []

    def decide(match: re.Match[str]) -> str:
        if rule.is_grouped:
            found, some = _part_replaced(match[0], rule, stand_in)
            values.extend(some)
            return found
        if not rule.is_valid(match[0]):
            return match[0]
        values.append(match[0])
        return stand_in

    return rule.pattern.sub(decide, text), values


def _part_replaced(text: str, rule: _Rule, stand_in: str) -> tuple[str, list[str]]:
    """Replace the longest runs of groups that are valid, from the left."""
    groups = [match.span() for match in _GROUP.finditer(text)]
    parts: list[str] = []
    values: list[str] = []
    done = first = 0
    while first < len(groups):
        start = groups[first][0]
        lasts = range(min(first + _MAX_GROUPS, len(groups)) - 1, first - 1, -1)
        last = next((i for i in lasts if rule.is_valid(text[start : groups[i][1]])), None)
        if last is not None:
            parts += (text[done:start], stand_in)
            done = groups[last][1]
            values.append(text[start:done])
        first = first + 1 if last is None else last + 1
    return "".join((*parts, text[done:])), values


def _always(_: str) -> bool:
    return True


def _is_card(text: str) -> bool:
    digits = _NOT_DIGITS.sub("", text)
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    is_issued = digits[0] in "3456" or "2221" <= digits[:4] <= "2720"  # ISO/IEC 7812 networks
    return is_issued and luhn.is_valid(digits)


def _is_iban(text: str) -> bool:
    # Checksum and form; which banks there are changes.
    return text[:2].isalpha() and iban.is_valid(text, check_country=False)


def _is_public_address(text: str) -> bool:
    is_short = ":" in text and len([part for part in text.split(":") if part]) < 3  # x[::3]
    try:
        # A private one tells nobody apart.
        return not is_short and ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _is_phone(text: str) -> bool:
    return 8 <= len(_NOT_DIGITS.sub("", text)) <= 15  # E.164


_GAP = rf"[.{_BLANK}{_DASH}]?"
_DASH_OR_DOT = rf"[.{_DASH}]"
_RULES: dict[MaskedKind, tuple[_Rule, ...]] = {
    "iban": (
        _Rule(
            re.compile(
                rf"(?<![A-Za-z0-9])[A-Z]{{2}}[0-9]{{2}}(?:[{_BLANK}]?[A-Z0-9]{{1,4}}){{3,10}}"
            ),
            _is_iban,
            is_grouped=True,
        ),
    ),
    "china_id": (
        _Rule(
            re.compile(
                rf"(?<![0-9A-Za-z])[0-9]{{6}}[{_BLANK}{_DASH}]?[0-9]{{8}}[{_BLANK}{_DASH}]?"
                r"[0-9]{3}[0-9Xx](?![0-9A-Za-z])"
            ),
            lambda text: ric.is_valid(re.sub(rf"[{_BLANK}{_DASH}]", "", text)),
        ),
    ),
    "card": (
        _Rule(
            re.compile(rf"(?<![0-9.])[0-9](?:[{_BLANK}{_DASH}]?[0-9]){{12,}}"),
            _is_card,
            is_grouped=True,
        ),
    ),
    "us_ssn": (
        _Rule(
            re.compile(rf"(?<![0-9-])[0-9]{{3}}[{_DASH}][0-9]{{2}}[{_DASH}][0-9]{{4}}(?!-?[0-9])"),
            lambda text: ssn.is_valid(_NOT_DIGITS.sub("", text)),
        ),
    ),
    "ip": (
        _Rule(
            re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\.?[0-9])"),
            _is_public_address,
            _IP_HINT,
        ),
        _Rule(
            re.compile(
                r"(?<![A-Za-z0-9_:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![A-Za-z0-9_:])"
            ),
            _is_public_address,
            _IPV6_HINT,
        ),
    ),
    "phone": (
        # International; North America; China: mobile, then with an area code.
        _Rule(
            re.compile(
                rf"(?<![A-Za-z0-9_+])\+[1-9][0-9]{{0,2}}(?:{_GAP}\([0-9]{{1,4}}\))?"
                rf"(?:{_GAP}[0-9]{{2,5}}){{2,5}}(?!\.?[0-9])"
            ),
            _is_phone,
        ),
        _Rule(
            re.compile(
                rf"(?<![A-Za-z0-9_.-])(?:1{_DASH_OR_DOT})?"
                rf"(?:\([0-9]{{3}}\) ?|[0-9]{{3}}{_DASH_OR_DOT})"
                rf"[0-9]{{3}}{_DASH_OR_DOT}[0-9]{{4}}(?![A-Za-z0-9_-])"
            ),
            _always,
        ),
        _Rule(
            re.compile(
                rf"(?<![A-Za-z0-9_.-])1[3-9][0-9](?:[{_BLANK}{_DASH}]?[0-9]{{4}}){{2}}(?![0-9A-Za-z])"
            ),
            _always,
        ),
        _Rule(
            re.compile(rf"(?<![A-Za-z0-9_.-])0[0-9]{{2,3}}[{_DASH}][0-9]{{7,8}}(?![0-9A-Za-z-])"),
            _always,
        ),
    ),
}
