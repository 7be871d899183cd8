"""The report page: what it says, what it leaves out, and that texts stay texts."""

import base64
import copy
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest
from sample_record import (
    empty_record,
    empty_surroundings,
    full_record,
    full_surroundings,
    score,
)

from wordmill.report.charts import Axis, Whisker, axis, lines, whisker
from wordmill.report.dag_chart import dag_chart
from wordmill.report.markdown import report, terminal
from wordmill.report.measures import best_of, main_metrics, measure
from wordmill.report.page import page
from wordmill.report.verdict import between, outcome, p_words, verdicts

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--"
VOID = {"meta", "link", "br", "img"}


class Elements(HTMLParser):
    """The elements of a page, their attributes, and whether all are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def whole():
    return page(full_record(), full_surroundings())


@pytest.mark.parametrize(
    "words",
    [
        "The n-gram model is best",
        "Bits/byte 1.710 against 1.853 of the pretrained model",
        "The finetuned model is best",
        "fourth of 5",
        "2026-11-22 08:41 UTC",
        "508,583",
        "744",
        "ROUGE-L ↑",
        "length ratio → 1",
        "no telling",
        "up to 100 tokens",
        "乍都节公园位于什么地方？",
        "more characters",
        "漢家",
        "Passed: none came back",
        "Failed: 2 came back (email 2)",
        "leans to “he”",
        "no clear lean",
        "source too short",
        "9,804 of 11,172",
        "3 min 34 s",
        "2.5 Wh",
        "no meter",
        "finetuned against lead",
        "32125a9c0b6be1f4c0bd8f03ce5c60dbe1d7a3a5",
        "nrefs:1|case:mixed|tok:13a",
        "decoding.max_new_tokens",
    ],
)
def test_the_page_tells_everything(whole, words):
    assert words in html.unescape(whole)


def test_elements_are_closed_ids_are_unique_and_links_lead_somewhere(whole):
    elements = Elements(whole)
    assert elements.open == []
    ids = [attrs["id"] for _, attrs in elements.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"][1:] for tag, attrs in elements.found if tag == "a"]
    assert links
    assert set(links) <= set(ids)


def test_nothing_is_fetched_and_only_our_script_may_run(whole):
    elements = Elements(whole)
    addresses = [a[k] for _, a in elements.found for k in ("src", "href", "action") if k in a]
    assert all(address.startswith(("#", "data:,")) for address in addresses)
    assert not re.search(r"url\(|@import|https?://", whole)
    policy = next(a["content"] for t, a in elements.found if t == "meta" and "http-equiv" in a)
    script = re.findall(r"<script>(.*?)</script>", whole, re.DOTALL)[-1]
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{hashed}'" in policy
    assert "default-src 'none'" in policy
    assert not [a for _, a in elements.found for name in a if name.startswith("on")]


def test_no_python_words_leak(whole):
    words = Elements(whole).words
    assert not re.search(
        r"\b(None|nan|inf|undefined|Markup)\b", re.sub("(is not|may be) None", "", words)
    )
    assert "{{" not in words
    assert "{%" not in words


def _poisoned(value):
    """The same shape with an evil text for each text that data or a model could have made."""
    if isinstance(value, dict):
        return {(EVIL if k in ("lead", "en") else k): _poisoned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_poisoned(v) for v in value]
    return EVIL if isinstance(value, str) else value


def test_texts_stay_texts():
    record, around = full_record(), full_surroundings()
    for part in ("slices", "differences", "examples", "surprises", "attentions"):
        record[part] = _poisoned(record[part])
    for part in ("bias", "memorization", "documents", "pairs", "identity"):
        record[part] = _poisoned(record[part])
    around = {**_poisoned(around), "stages": [(EVIL, []), ("b", [EVIL])]}
    elements = Elements(page(record, around))
    scripts = [attrs for tag, attrs in elements.found if tag == "script"]
    assert scripts == [{"type": "application/json"}, {}]
    assert not [tag for tag, _ in elements.found if tag == "img"]
    assert not [a for _, attrs in elements.found for a in attrs if a.startswith("on")]
    assert "alert(2)" in elements.words


def test_json_for_the_script_is_json_and_ends_where_it_should():
    record = full_record()
    record["attentions"][0]["weights"][0][0] = float("nan")
    text = page(record, full_surroundings())
    (found,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    rows = json.loads(found)["rows"]
    assert len(rows) == len(record["attentions"][0]["answer"])
    assert all(0 <= weight <= 1 for row in rows for weight in row)
    assert all(max(row) == 1 for row in rows)


def test_an_empty_record_is_a_page_all_the_same():
    elements = Elements(page(empty_record(), empty_surroundings()))
    assert elements.open == []
    assert "Evaluation" in elements.words
    assert "None" not in elements.words
    assert {"examples", "probes", "votes", "cost", "data", "training"}.isdisjoint(
        attrs.get("id") for _, attrs in elements.found
    )


@pytest.mark.parametrize(
    "part",
    [
        *("slices", "differences", "examples", "surprises", "attentions", "bias", "memorization"),
        *("documents", "pairs", "primary", "identity", "num_pairs"),
    ],
)
def test_any_part_of_the_record_may_be_missing(part):
    record = full_record()
    record[part] = type(record[part])()
    assert Elements(page(record, full_surroundings())).open == []


@pytest.mark.parametrize("part", [*empty_surroundings()])
def test_any_part_of_the_surroundings_may_be_missing(part):
    around = full_surroundings()
    around[part] = type(around[part])()
    assert Elements(page(full_record(), around)).open == []


def test_scores_that_are_no_numbers_are_left_out():
    record = full_record()
    nothing = {**score(1.0), "value": None, "low": None, "high": None}
    for bad in (float("nan"), float("inf")):
        record["documents"]["unigram"]["perplexity"] = score(bad)
        record["documents"]["n-gram"]["perplexity"] = nothing
        record["surprises"][0]["nats"][0] = bad
        record["examples"][0]["value"] = bad
        around = full_surroundings()
        around["curves"][0]["values"][3] = bad
        assert Elements(page(record, around)).open == []


def test_many_probes_show_the_leaning_ones_and_fold_the_rest():
    record = full_record()
    record["bias"] = 3 * record["bias"]
    text = page(record, full_surroundings())
    assert "6 without a clear lean" in text
    assert text.count("leans to “he”") == 3


def test_long_texts_are_cut_and_say_by_how_much():
    record = full_record()
    record["examples"][0]["predictions"]["lead"] = "x" * 5000
    assert "… 4,300 more characters" in page(record, full_surroundings())


def test_drafts_are_not_called_pairs():
    record = full_record()
    record["pairs"] = {"write": {"finetuned": {"chrf": score(20.0)}, "n-gram": {"chrf": score(1)}}}
    record["num_pairs"], record["primary"] = {"write": 3}, {"write": "chrf"}
    record["documents"] = {}
    words = page(record, full_surroundings())
    assert "beginnings of 3 held-out documents" in words
    assert "3 held-out pairs" not in words
    assert "write pairs" not in words
    assert "## Drafts (3)" in report(record)
    assert "pairs" not in terminal(record)


def test_what_was_not_measured_is_not_zero():
    record = full_record()
    record["memorization"] = [{**record["memorization"][0], "count": 0, "exact_share": 0.0}]
    assert "not measured: no text is long enough" in page(record, full_surroundings())
    assert "not measured, no training text is long enough" in report(record)
    assert "0.0% of" not in report(record)


def test_an_empty_answer_is_named():
    assert '<span class="nothing">nothing</span>' in page(full_record(), full_surroundings())


def test_the_page_is_the_same_for_the_same_record():
    before = copy.deepcopy(full_record())
    record = full_record()
    assert page(record, full_surroundings()) == page(record, full_surroundings())
    assert record == before


def _two(metric, a, b, difference=None):
    scores = {"finetuned": {metric: score(a)}, "lead": {metric: score(b)}}
    return empty_record(
        primary={"summarize": metric},
        pairs={"summarize": scores},
        num_pairs={"summarize": 9},
        differences=[difference] if difference else [],
    )


def _difference(value, p, *, metric="rougeL", a="finetuned", b="lead"):
    ends = {"value": value, "low": value - 1, "high": value + 1}
    return {
        "kind": "summarize",
        "metric": metric,
        "a": a,
        "b": b,
        **ends,
        "p_bootstrap": p,
        "p_randomization": p,
        "count": 9,
    }


@pytest.mark.parametrize(
    ("record", "winner", "words"),
    [
        (_two("rougeL", 9.0, 4.0, _difference(5.0, 0.001)), "finetuned", "The finetuned model is"),
        (_two("rougeL", 4.0, 9.0, _difference(-5.0, 0.001)), "lead", "The lead sentence is best"),
        (_two("rougeL", 5.0, 4.9, _difference(0.1, 0.7)), "", "No clear winner"),
        (_two("rougeL", 5.0, 5.0, _difference(0.0, 1.0)), "", "No clear winner"),
        (_two("rougeL", 5.0, 5.0), "", "No clear winner"),
        (_two("perplexity", 9.0, 4.0), "lead", "The lead sentence is best"),
        (_two("length_ratio", 0.9, 1.4), "finetuned", "The finetuned model is best"),
    ],
)
def test_the_verdict_names_who_wins_and_claims_no_more(record, winner, words):
    (verdict,) = verdicts(record)
    assert verdict.winner == winner
    assert verdict.headline.startswith(words)
    assert ("not tested" in verdict.detail) == (not record["differences"])


def test_a_difference_reads_the_same_both_ways():
    found = _difference(-5.0, 0.001)
    turned = between([found], "summarize", "rougeL", "lead", "finetuned")
    assert (turned["value"], turned["low"], turned["high"]) == (5.0, 4.0, 6.0)
    assert outcome(found) == outcome(turned) == "lead is better"
    assert outcome(_difference(-5.0, 0.001, metric="perplexity")) == "finetuned is better"
    assert outcome(_difference(-5.0, 0.2)) == "no telling"
    assert between([found], "summarize", "bleu", "lead", "finetuned") is None


@pytest.mark.parametrize(
    ("p", "words"), [(1.0, "1"), (0.0004, "< 0.001"), (0.0312, "0.031"), (0.9991, "0.999")]
)
def test_p_in_words(p, words):
    assert p_words(p) == words


def test_metrics_know_which_way_they_point():
    scores = {"a": {"bits_per_byte": score(2.0)}, "b": {"bits_per_byte": score(1.5)}}
    assert best_of(scores, "bits_per_byte") == ["b"]
    assert best_of({"a": {"x": score(2.0)}, "b": {"x": score(2.0)}}, "x") == []
    assert measure("bits_per_byte").words(-0.00001) == "0.000"
    assert measure("perplexity").words(-1234.56) == "−1,234.6"
    assert measure("unheard_of").title == "unheard of ↑"
    both = {"a": {"bleu": score(1.0), "f1": score(2.0), "rouge1": score(3.0)}}
    assert main_metrics("answer", both, primary="bleu") == ["bleu", "f1"]


def test_an_axis_holds_its_values_and_goes_by_tens_where_they_spread():
    narrow = axis([Whisker(5.0, 4.0, 6.0), Whisker(4.5, 4.4, 7.0)])
    assert not narrow.is_log
    assert all(0 <= narrow.share(value) <= 1 for value in (4.0, 7.0))
    wide = axis([Whisker(784.0, 752.0, 815.0), Whisker(65.0, 63.0, 68.0)])
    assert wide.is_log
    assert wide.ticks() == [100.0, 300.0]
    assert axis([]).share(0.0) == 0.5
    assert Axis(3.0, 3.0, False).share(3.0) == 0.5


def test_a_whisker_stands_where_its_value_is():
    drawn = whisker(Whisker(5.0, 2.5, 7.5), Axis(0.0, 10.0, False), label="a <b>")
    assert 'cx="50.00%"' in drawn
    assert 'x1="25.00%" x2="75.00%"' in drawn
    assert 'aria-label="a &lt;b&gt;"' in drawn


def test_long_curves_are_thinned_and_gaps_stay():
    from wordmill.report.charts import Line

    points = [(float(i), 1.0) for i in range(1000)]
    path = lines([Line("loss", "quiet", points, False)], label="")
    assert 100 < path.count("L") <= 120
    broken = [(0.0, 1.0), (1.0, float("nan")), (2.0, 2.0), (3.0, 3.0)]
    drawn = re.search(r' d="([^"]*)"', lines([Line("loss", "quiet", broken, False)], label=""))
    assert drawn[1].count("M") == 2
    assert lines([Line("loss", "quiet", [(0.0, float("nan"))], False)], label="") == ""


def test_the_dag_draws_direct_lines_alone():
    drawn = dag_chart([("a", []), ("b", ["a"]), ("c", ["a", "b", "elsewhere"])])
    assert drawn.count('class="edge"') == 2
    assert "c reads a, b" in drawn
    assert dag_chart([]) == ""
