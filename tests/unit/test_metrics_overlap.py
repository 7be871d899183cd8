"""BLEU, chrF++ and ROUGE against the programs that define them."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer

from wordmill.metrics.adapters import load_module, reported
from wordmill.metrics.bleu import bleu_of, bleu_statistics
from wordmill.metrics.chrf import chrf_of, chrf_statistics
from wordmill.metrics.rouge import KINDS, all_words, rouge_statistics, rouge_values
from wordmill.metrics.subsequences import common_length

WORDS = "the miller grinds corn, at dawn; and (sells) it's naïve flour!".split()  # noqa: SIM905
HAN = "春眠不觉晓处处闻啼鸟，。 a1"


def sentences(count, *, seed, least=0):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(least, 9))) for _ in range(count)]


def verses(count, *, seed):
    draw = random.Random(seed)
    return ["".join(draw.choices(HAN, k=draw.randint(0, 12))) for _ in range(count)]


def pages(count, *, seed):
    draw = random.Random(seed)
    texts = sentences(10 * count, seed=seed)
    return ["\n".join(draw.sample(texts, draw.randint(0, 5))) for _ in range(count)]


def sacrebleus(metric, predictions, references):
    return np.array(metric._extract_corpus_statistics(predictions, [references]))


@pytest.mark.parametrize("is_chinese", [False, True])
def test_bleu_is_sacrebleus(is_chinese):
    make = verses if is_chinese else sentences
    predictions, references = make(300, seed=1), make(300, seed=2)
    metric = sacrebleu.BLEU(tokenize="zh" if is_chinese else "13a")
    found = bleu_statistics(predictions, references, is_chinese=is_chinese)
    assert (found.values == sacrebleus(metric, predictions, references)).all()
    wanted = metric.corpus_score(predictions, [references])
    assert found.value() == pytest.approx(wanted.score, abs=1e-9)
    assert found.signature == f"BLEU|{metric.get_signature()}"


@pytest.mark.parametrize("make", [sentences, verses, pages])
def test_chrf_is_sacrebleus(make):
    predictions, references = make(300, seed=1), make(300, seed=2)
    metric = sacrebleu.CHRF(word_order=2)
    found = chrf_statistics(predictions, references)
    assert (found.values == sacrebleus(metric, predictions, references)).all()
    wanted = metric.corpus_score(predictions, [references])
    assert found.value() == pytest.approx(wanted.score, abs=1e-9)
    assert found.signature == f"{wanted.name}|{metric.get_signature()}"


def test_bleu_of_any_sums_is_sacrebleus():
    """Zeros at every place: smoothing, the brevity penalty, no word right, no words at all."""
    draw = np.random.default_rng(0)
    total = draw.integers(0, 40, (3000, 4)) * draw.integers(0, 2, (3000, 4))
    right = (total * draw.random((3000, 4)) * draw.integers(0, 2, (3000, 4))).astype(int)
    sums = np.hstack((draw.integers(1, 40, (3000, 2)), right, total)).astype(float)
    wanted = [sacrebleu.BLEU()._compute_score_from_stats(row.tolist()).score for row in sums]
    np.testing.assert_allclose(bleu_of(sums), wanted, atol=1e-9, rtol=1e-12)


def test_chrf_of_any_sums_is_sacrebleus():
    draw = np.random.default_rng(0)
    totals = draw.integers(0, 40, (3000, 8, 2)) * draw.integers(0, 2, (3000, 8, 2))
    shared = (totals.min(axis=2) * draw.random((3000, 8))).astype(int)
    sums = np.concatenate((totals, shared[:, :, None]), axis=2).reshape(3000, 24).astype(float)
    metric = sacrebleu.CHRF(word_order=2)
    wanted = [metric._compute_score_from_stats(row.tolist()).score for row in sums]
    np.testing.assert_allclose(chrf_of(sums), wanted, atol=1e-9, rtol=1e-12)


def test_the_command_line_of_sacrebleu_gives_the_same_digits(tmp_path):
    predictions, references = sentences(60, seed=5, least=1), sentences(60, seed=6, least=1)
    (tmp_path / "wanted").write_text("\n".join(references) + "\n")
    (tmp_path / "found").write_text("\n".join(predictions) + "\n")
    command = [sys.executable, "-m", "sacrebleu", "wanted", "-i", "found", "-m", "bleu", "chrf"]
    command += ["--chrf-word-order", "2", "-w", "9"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    bleu, chrf = json.loads(done.stdout)
    ours = bleu_statistics(predictions, references, is_chinese=False)
    assert f"{ours.value():.9f}" == f"{bleu['score']:.9f}"
    assert ours.signature == f"{bleu['name']}|{bleu['signature']}"
    ours = chrf_statistics(predictions, references)
    assert f"{ours.value():.9f}" == f"{chrf['score']:.9f}"
    assert ours.signature == f"{chrf['name']}|{chrf['signature']}"


class HanTokenizer:
    def tokenize(self, text):
        return all_words(text)


@pytest.mark.parametrize(
    ("make", "count", "is_chinese"),
    [(sentences, 2000, False), (pages, 2000, False), (verses, 2000, True), (pages, 200, True)],
)
def test_rouge_is_rouge_scores_to_the_last_bit(make, count, is_chinese):
    predictions, references = make(count, seed=1), make(count, seed=2)
    scorer = rouge_scorer.RougeScorer(list(KINDS), tokenizer=HanTokenizer() if is_chinese else None)
    wanted = [scorer.score(r, p) for p, r in zip(predictions, references, strict=True)]
    found = rouge_values(predictions, references, is_chinese=is_chinese)
    assert list(found) == list(KINDS)
    for kind, values in found.items():
        assert values.tolist() == [one[kind].fmeasure for one in wanted]


def test_rouge_knows_words_of_other_letters():
    """rouge-score drops all but a-z: a right answer in Russian would have 0."""
    said = ["Кошка сидит на окне", "the cat sits"]
    wanted = ["Кошка спит на окне", "the cat sleeps"]
    found = rouge_statistics(said, wanted, is_chinese=False)["rouge1"]
    assert found.of_examples().tolist() == pytest.approx([75.0, 200 / 3])
    assert "tok:default+letters" in found.signature
    alone = rouge_statistics(["über allen"], ["über allen Gipfeln"], is_chinese=False)["rouge1"]
    assert "tok:default" in alone.signature


def test_common_subsequences_of_long_texts():
    """More words than a machine's number has bits; against the table of the textbook."""
    draw = random.Random(0)
    for _ in range(20):
        one, other = (draw.choices("abcdef", k=draw.randint(60, 200)) for _ in range(2))
        row = [0] * (len(other) + 1)
        for word in one:
            before, row = row, [0]
            for place, also in enumerate(other):
                longest = max(before[place + 1], row[-1])
                row.append(before[place] + 1 if word == also else longest)
        assert common_length(one, other) == row[-1]


def test_rouge_by_hand():
    # one of two words right, one of three wanted found: P 1/2, R 1/3, F 2/5
    found = rouge_statistics(["the cat"], ["the dog barks"], is_chinese=False)
    assert found["rouge1"].value() == pytest.approx(40)
    assert found["rouge2"].value() == 0


def test_chinese_is_scored_by_character():
    found = rouge_statistics(["春眠不觉晓"], ["春眠不觉寒"], is_chinese=True)
    assert found["rouge1"].value() == pytest.approx(80)
    assert "tok:han" in found["rouge1"].signature


@pytest.mark.parametrize("predictions", [["", ""], ["zz", "?!"]])
def test_answers_without_a_right_word_score_0(predictions):
    references = ["the corn", "white flour"]
    assert bleu_statistics(predictions, references, is_chinese=False).value() == 0
    assert chrf_statistics(predictions, references).value() == 0
    found = rouge_statistics(predictions, references, is_chinese=False)
    assert {one.value() for one in found.values()} == {0}


def test_no_examples_have_no_rows():
    assert bleu_statistics([], [], is_chinese=False).values.shape == (0, 10)
    assert chrf_statistics([], []).values.shape == (0, 24)
    for found in rouge_statistics([], [], is_chinese=True).values():
        assert found.values.shape == (0, 2)


def test_evaluate_reports_the_same():
    predictions, references = sentences(20, seed=8), sentences(20, seed=9)
    texts = {"predictions": predictions, "references": references}
    bleu = load_module("bleu").compute(**texts)
    assert bleu["bleu"] == sacrebleu.corpus_bleu(predictions, [references]).score
    assert load_module("chrf").compute(**texts)["chrf"] == pytest.approx(
        sacrebleu.corpus_chrf(predictions, [references], word_order=2).score, abs=1e-9
    )
    rouge = load_module("rouge").compute(**texts)
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    values = [
        scorer.score(*pair)["rougeL"].fmeasure for pair in zip(references, predictions, strict=True)
    ]
    assert rouge["rougeL"] == pytest.approx(100 * np.mean(values), abs=1e-12)
    perplexity = load_module("perplexity").compute(
        nll=[3.0, 1.0], num_tokens=[1, 1], num_words=[1, 1], num_bytes=[4, 4]
    )
    assert perplexity["perplexity"] == pytest.approx(np.exp(2))
    assert list(reported("rouge", **texts)) == list(KINDS)
