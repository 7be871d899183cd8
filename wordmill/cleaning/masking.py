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
_LOCAL_PART = re.compile(r"[A-Za-z0-9._%+-]+\Z")
_MAX_LOCAL_CHARS = 64
_NUMBER_HINT = re.compile(r"[0-9](?:[ .()/-]{0,3}[0-9A-Z]){6}")
_IP_HINT = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9])")
_IPV6_HINT = re.compile(r":[0-9A-Fa-f]{0,4}:")
_MIN_DIGITS = 4
_ALL_BUT_DIGITS = bytes(sorted(set(range(256)) - set(b"0123456789")))
_NOT_DIGITS = re.compile(r"\D")


def mask(text: str, kinds: Sequence[MaskedKind]) -> tuple[str, dict[str, int]]:
    """Replace personal data of the given kinds; returns how many of each were found."""
    found: dict[str, int] = {}
    if "@" in text and "email" in kinds and _AT_DOMAIN.search(text):
        text, count = _without_emails(text)
        found |= {"email": count} if count else {}
    digits = text.encode(errors="replace").translate(None, _ALL_BUT_DIGITS)
    if len(digits) < _MIN_DIGITS:
        return text, found
    rules: list[tuple[MaskedKind, _Rule]] = [
        (kind, rule) for kind in _RULES if kind in kinds for rule in _RULES[kind]
    ]
    is_possible = {rule.hint: rule.hint.search(text) is not None for _, rule in rules}
    for kind, rule in rules:
        if is_possible[rule.hint]:
            text, count = _replaced(text, rule, placeholder(kind))
            found |= {kind: found.get(kind, 0) + count} if count else {}
    return text, found


def _without_emails(text: str) -> tuple[str, int]:
    """Addresses are found by their domain: every other character could start one."""
    parts: list[str] = []
    done = 0
    for match in _AT_DOMAIN.finditer(text):
        at = match.start()
        local = _LOCAL_PART.search(text, max(done, at - _MAX_LOCAL_CHARS), at)
        if local:
            parts += (text[done : local.start()], placeholder("email"))
            done = match.end()
    return "".join((*parts, text[done:])), len(parts) // 2


def placeholder(kind: MaskedKind) -> str:
    """What stands where personal data stood."""
    return f"<{kind.upper()}>"


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    hint: re.Pattern[str] = _NUMBER_HINT


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
    return 8 <= len(_NOT_DIGITS.sub("", text)) <= 15  # E.164


_GAP = r"[ .-]?"
_RULES: dict[MaskedKind, tuple[_Rule, ...]] = {
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
        _Rule(
            re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)"), _is_public_address, _IP_HINT
        ),
        _Rule(
            re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"),
            _is_public_address,
            _IPV6_HINT,
        ),
    ),
    "phone": (
        # International; North America; China: mobile, then with an area code.
        _Rule(
            re.compile(
                rf"(?<![\w+])\+[1-9]\d{{0,2}}(?:{_GAP}\(\d{{1,4}}\))?(?:{_GAP}\d{{2,5}}){{2,5}}(?!\.?\d)"
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
