"""Personal data: what is masked, what only looks like it, and what it costs."""

import time

import pytest

from wordmill.cleaning.masking import mask, placeholder

KINDS = ("email", "phone", "ip", "card", "iban", "china_id", "us_ssn")

PERSONAL = [
    ("email", "joe.doe+x@mail.example.org"),
    ("phone", "+1 (212) 555-0100"),
    ("phone", "(212) 555-0100"),
    ("phone", "212-555-0100"),
    ("phone", "+44 20 7946 0958"),
    ("phone", "+8613812345678"),
    ("phone", "+49 (30) 901820"),
    ("phone", "13812345678"),
    ("phone", "010-62345678"),
    ("ip", "8.8.8.8"),
    ("ip", "2001:4860:4860::8888"),
    ("card", "4111 1111 1111 1111"),
    ("card", "5500-0000-0000-0004"),
    ("card", "378282246310005"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432"),
    ("iban", "BE68 5390 0754 7034"),
    ("email", "jürgen.o'brien@example.com"),
    ("phone", "1-800-555-2671"),
    ("phone", "212\u2011555\u20110100"),
    ("card", "4111\u00a01111\u00a01111\u00a01111"),
    ("ip", "2a00:abcd::ef"),
    ("china_id", "11010519491231002X"),
    ("china_id", "110105 19491231 002X"),
    ("us_ssn", "536-90-4399"),
]
HARMLESS = [
    "4111 1111 1111 1112",  # wrong checksum
    "DE88 3704 0044 0532 0130 00",
    "110105194912310021",
    "000-12-3456",
    "192.168.1.1",  # private: tells nobody apart
    "127.0.0.1",
    "1.2.3.4.5",
    "999.1.1.1",
    "12:30:45",
    "2024-01-02",
    "3.14159265358979",
    "ISBN 978-3-16-148410-0",
    "1234567890123456",
    "+000000120",
    "+3.140000",
    "Decimal('+35236450.6')",
    "@decorator",
    "a@b",
    "x[1:2, ::3]",
    "Decimal('0.0000000')",
    "0x1F4A9 0xdeadbeef",
]


@pytest.mark.parametrize(("kind", "item"), PERSONAL)
@pytest.mark.parametrize("frame", ["{}", "call {} now", "地址：{}。", "({})", "<{}>"])
def test_personal_data_gives_way_to_its_placeholder(kind, item, frame):
    text, found = mask(frame.format(item), KINDS)
    assert text == frame.format(placeholder(kind))
    assert found == {kind: 1}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_stays(text):
    assert mask(text, KINDS) == (text, {})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4111 1111 1111 1111 123", "<CARD> 123"),
        ("4111 1111 1111 1111 12/25", "<CARD> 12/25"),
        ("4111 1111 1111 1111-", "<CARD>-"),
        ("no. 12 4111111111111111", "no. 12 <CARD>"),
        ("4111 1111 1111 1111 5500 0000 0000 0004", "<CARD> <CARD>"),
        ("AT61 1904 3002 3457 3201 1234", "<IBAN> 1234"),
        ("BE68 5390 0754 7034 BANK", "<IBAN> BANK"),
        ("电话+44 20 7946 0958", "电话<PHONE>"),
        ("致电+1 415 555 2671。", "致电<PHONE>。"),
        ("张三@example.com", "<EMAIL>"),
    ],
)
def test_neighbours_do_not_hide_it(text, wanted):
    assert mask(text, KINDS)[0] == wanted


def test_only_the_kinds_asked_for_are_masked():
    text = "joe@example.org, 8.8.8.8"
    assert mask(text, ["ip"]) == ("joe@example.org, <IP>", {"ip": 1})
    assert mask(text, []) == (text, {})


def test_all_of_them_in_one_text():
    text, found = mask("; ".join(item for _, item in PERSONAL), KINDS)
    assert text == "; ".join(placeholder(kind) for kind, _ in PERSONAL)
    assert sum(found.values()) == len(PERSONAL)


@pytest.mark.parametrize(
    "unit", ["ab1.", "1", "1:", "a@", "1 ", "A1 ", "1.", "+1 ", "@", "a-", "AB12 ", "4111 "]
)
def test_no_text_costs_more_than_its_length(unit):
    def seconds(size):
        started = time.process_time()
        mask(unit * size, KINDS)
        return time.process_time() - started

    # Eight times the text: eight times the work, sixteen with room; a square would be 64.
    assert seconds(80_000) < 16 * max(seconds(10_000), 0.01)
