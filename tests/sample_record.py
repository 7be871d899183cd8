"""A record with every part, in the proportions of the default run, and one with next to nothing."""

import math
import random

_DOCUMENTS = {
    "unigram": 784.08,
    "n-gram": 65.88,
    "lstm": 131.4,
    "pretrained": 93.70,
    "finetuned": 248.59,
}
_SUMMARIES = {
    "lead": (17.58, 4.17, 15.48, 2.44, 25.06, 1.61),
    "retrieval": (11.31, 2.60, 10.72, 1.90, 14.80, 1.08),
    "lstm": (9.12, 0.95, 8.81, 0.41, 11.37, 0.74),
    "pretrained": (6.97, 0.53, 6.39, 0.17, 11.89, 2.31),
    "finetuned": (12.08, 2.02, 11.66, 1.01, 14.23, 0.88),
}
_ANSWERS = {
    "lead": (2.1, 18.4),
    "retrieval": (6.2, 21.9),
    "pretrained": (0.0, 9.3),
    "finetuned": (11.7, 29.8),
}

_DOCSTRINGS = [
    (
        "This method blocks until the lock is unlocked, then sets it to\nlocked and returns True.",
        "Acquire a lock.",
        "Return the future for the thread's thread.",
    ),
    (
        "This function runs the passed coroutine, taking care of\nmanaging the asyncio event"
        " loop and finalizing asynchronous\ngenerators.\n\nThis function cannot be called when"
        " another asyncio event loop is\nrunning in the same thread.\n\nExample:\n\n"
        "    async def main():\n"
        "        await asyncio.sleep(1)\n        print('hello')\n\n    asyncio.run(main())",
        "Execute the coroutine and return the result.",
        "Return the result of the coroutine.",
    ),
    (
        "A dictionary containing name/value pairs is returned.  If an\noptional dictionary is"
        " passed in as the second argument, it is\nused instead of a new dictionary.",
        "Parse a Makefile-style file.",
        "Return the object of the object.",
    ),
    (
        "The year, month and day arguments are required. tzinfo may be None, or an\ninstance of a"
        " tzinfo subclass. The remaining arguments may be ints. " * 30,
        "datetime(year, month, day[, hour[, minute[, second[, microsecond[,tzinfo]]]]])",
        "",
    ),
]
_PARK = (
    "乍都节公园位于泰国的首都曼谷的乍都节县，是拍凤裕庭路、威拍哇丽兰室路、甘烹碧路之间的一处公众游园地。"
    "1975年由泰国国家铁路局捐献土地建筑成公园。1980年12月4日，泰国国王拉玛九世62岁生日那天，公园开放。"
)
_QUESTIONS = [
    ("乍都节公园位于什么地方？", "泰国的首都曼谷的乍都节县", "泰国的首都曼谷"),
    ("乍都节公园是由谁捐献土地建造出来的？", "泰国国家铁路局", "泰国国家铁路局"),
]
_PIECES = {
    "en": "Return| the| number| of| bytes| that| can| be| read| without| blocking|.|\n|If| the|"
    " stream| is| closed|,| raise| Value|Error|.",
    "zh": "漢家|宮殿|含|雲煙|，|兩宮|十里|相連|延|。|晨霞|出沒|弄|丹闕|，|春雨|依微|自|甘泉|。",
}


def score(value, *, spread=0.06, count=223, signature="nrefs:1|case:mixed|tok:13a"):
    low, high = value * (1 - spread), value * (1 + spread)
    return {"value": value, "low": low, "high": high, "count": count, "signature": signature}


def empty_record(**parts):
    """A record without any part but those given."""
    empty = {name: [] for name in ("slices", "differences", "examples", "surprises", "attentions")}
    empty |= {"bias": [], "memorization": [], "documents": {}, "pairs": {}, "primary": {}}
    empty |= {"version": 1, "identity": {}, "num_documents": 0, "num_pairs": {}}
    return {**empty, **parts}


def empty_surroundings(**parts):
    """Nothing known but what is given."""
    empty = {name: {} for name in ("identity", "params", "clean", "tokens")}
    empty |= {name: [] for name in ("stages", "curves", "training", "generation", "votes")}
    return {**empty, "title": "", "made_at": "", **parts}


def full_record():
    """Every part of a record."""
    return empty_record(
        identity={
            "documents": "c1b3f6a09e5d4e21",
            "pairs": "7fd0b2c4411ce09a",
            "tokenizer": "e6cc1f0db1a94c77",
            "decoding": {"max_new_tokens": 48, "num_beams": 1, "temperature": 0.0, "stop": []},
        },
        primary={"documents": "bits_per_byte", "summarize": "rougeL", "answer": "f1"},
        num_documents=744,
        num_pairs={"summarize": 223, "answer": 256},
        documents=_documents(),
        pairs={"summarize": _summaries(), "answer": _answers()},
        slices=_slices(),
        differences=_differences(),
        examples=_examples(),
        surprises=_surprises(),
        attentions=[_attention()],
        bias=_bias(),
        memorization=_memorization(),
    )


def full_surroundings():
    """Every part of the surroundings."""
    return empty_surroundings(
        title="wordmill · decoder, 0.7M parameters",
        made_at="2026-11-22T08:41:07+00:00",
        identity={
            "git commit": "32125a9c0b6be1f4c0bd8f03ce5c60dbe1d7a3a5",
            "dirty": "no",
            "params": "9d1f0a7722e3",
            "model": "decoder, 3 layers of 96, 725,664 parameters",
            "python": "3.11.7",
            "packages": "torch 2.13.0, transformers 5.23.0, lightning 2.6.6",
            "mlflow run": "5b1c7f2d40be4bb5a0e0a7d1",
        },
        stages=[
            ("ingest", []),
            ("clean", ["ingest"]),
            ("tokenize", ["clean"]),
            ("pretrain", ["tokenize"]),
            ("finetune", ["pretrain", "tokenize"]),
            ("baselines", ["tokenize"]),
            ("evaluate", ["clean", "tokenize", "pretrain", "finetune", "baselines"]),
        ],
        params={"seed": 1, "pretrain": {"lr": 0.001, "length": "750 steps", "warmup_steps": None}},
        clean=_clean(),
        tokens={
            "vocab_size": 4096,
            "unknown_rate": 0.0,
            "documents": {"train": {"tokens": 508583, "bytes_per_token": 3.611}},
            "pairs": {"train": {"tokens": 195910, "bytes_per_token": 3.621}},
        },
        curves=_curves(),
        training=[_cost("pretrain", 214.0, 1536000, 9010.0), _cost("finetune", 41.3, 196000, None)],
        generation=[
            {"system": "retrieval", "tokens": 2900, "seconds": 0.4},
            {"system": "finetuned", "tokens": 4120, "seconds": 3.1},
        ],
        votes=[
            {
                "a": "finetuned",
                "b": "lead",
                "wins_a": 7,
                "wins_b": 18,
                "ties": 5,
                "skips": 1,
                "rate": 0.317,
                "low": 0.178,
                "high": 0.499,
                "p": 0.0433,
            }
        ],
    )


def _documents():
    signature = "tokenizer:e6cc1f0db1a94c77|ends:counted|context:256|stride:128"
    return {
        system: {
            "perplexity": score(value, spread=0.04, count=744, signature=signature),
            "word_perplexity": score(value**1.31, spread=0.05, count=744, signature=signature),
            "bits_per_byte": score(
                math.log2(value) / 3.534, spread=0.01, count=744, signature=signature
            ),
        }
        for system, value in _DOCUMENTS.items()
    }


def _summaries():
    names = ("rouge1", "rouge2", "rougeL", "bleu", "chrf", "length_ratio")
    return {
        system: {
            **{name: score(v, spread=0.11) for name, v in zip(names, values, strict=True)},
            "distinct1": score(0.31),
            "repetition": score(0.08),
            "novelty": score(0.71),
        }
        for system, values in _SUMMARIES.items()
    }


def _answers():
    return {
        system: {"exact_match": score(em, spread=0.2), "f1": score(f1, spread=0.1, count=256)}
        for system, (em, f1) in _ANSWERS.items()
    }


def _slices():
    lengths = (
        ("up to 100 tokens", 131, 1.1),
        ("101 to 200 tokens", 58, 0.9),
        ("over 200 tokens", 34, 0.8),
    )
    parts = [
        {
            "kind": "summarize",
            "by": "length",
            "name": name,
            "count": count,
            "scores": {s: {"rougeL": score(v[2] * by)} for s, v in _SUMMARIES.items()},
        }
        for name, count, by in lengths
    ]
    return parts + [
        {
            "kind": "documents",
            "by": "language",
            "name": name,
            "count": count,
            "scores": {
                s: {"bits_per_byte": score(math.log2(v) / 3.5 * by)} for s, v in _DOCUMENTS.items()
            },
        }
        for name, count, by in (("en", 702, 1.0), ("zh", 42, 1.4))
    ]


def _differences():
    rows = [
        ("documents", "bits_per_byte", "finetuned", "n-gram", 0.542, 0.511, 0.574, 0.0004, 744),
        ("documents", "bits_per_byte", "finetuned", "pretrained", 0.398, 0.377, 0.421, 0.0004, 744),
        ("documents", "bits_per_byte", "finetuned", "unigram", -0.469, -0.502, -0.433, 0.0004, 744),
        ("documents", "bits_per_byte", "pretrained", "n-gram", 0.144, 0.131, 0.158, 0.0004, 744),
        ("summarize", "rougeL", "finetuned", "lead", -3.82, -6.31, -1.42, 0.002, 223),
        ("summarize", "rougeL", "finetuned", "retrieval", 0.94, -1.12, 3.01, 0.361, 223),
        ("summarize", "rougeL", "finetuned", "lstm", 2.85, 0.88, 4.79, 0.004, 223),
        ("summarize", "rougeL", "lead", "retrieval", 4.76, 2.20, 7.41, 0.001, 223),
        ("summarize", "rouge1", "finetuned", "lead", -5.5, -8.1, -2.9, 0.0004, 223),
        ("answer", "f1", "finetuned", "retrieval", 7.9, 3.3, 12.4, 0.001, 256),
        ("answer", "f1", "finetuned", "lead", 11.4, 7.0, 15.9, 0.0004, 256),
    ]
    names = ("kind", "metric", "a", "b", "value", "low", "high", "p_randomization", "count")
    return [{**dict(zip(names, row, strict=True)), "p_bootstrap": row[7]} for row in rows]


def _examples():
    whys = ("best", "best", "worst", "typical")
    found = [
        {
            "id": f"05d3ae06815{i}",
            "task": "summarize",
            "source": source,
            "ask": "",
            "target": target,
            "language": "en",
            "why": why,
            "metric": "rougeL",
            "value": (31.2, 66.7, 0.0, 11.5)[i],
            "predictions": {
                "lead": source.split(".")[0] + ".",
                "retrieval": "Release a lock.",
                "pretrained": "- * If the module is not None,\nthe default value is not found.",
                "finetuned": written,
            },
        }
        for i, ((source, target, written), why) in enumerate(zip(_DOCSTRINGS, whys, strict=True))
    ]
    return found + [
        {
            "id": f"cmrc-{i}",
            "task": "answer",
            "source": _PARK,
            "ask": question,
            "target": target,
            "language": "zh",
            "why": "sample",
            "metric": "f1",
            "value": 80.0 + 20 * i,
            "predictions": {"lead": _PARK[:40], "retrieval": "1980年", "finetuned": written},
        }
        for i, (question, target, written) in enumerate(_QUESTIONS)
    ]


def _surprises():
    draw = random.Random(3)
    found = []
    for language, text in _PIECES.items():
        pieces = text.split("|") * 4
        nats = [min(11.0, draw.expovariate(0.42)) for _ in pieces]
        found.append(
            {
                "id": f"{language}-1",
                "language": language,
                "system": "pretrained",
                "pieces": pieces,
                "nats": nats,
            }
        )
    return found


def _attention():
    draw = random.Random(5)
    source = [
        "This",
        " function",
        " runs",
        " the",
        " passed",
        " cor",
        "outine",
        ",",
        " taking",
        " care",
        " of",
        "\nmanaging",
        " the",
        " asyncio",
        " event",
        " loop",
        ".",
        "\n\n",
        "Summary",
        ":",
    ]
    answer = ["Return", " the", " result", " of", " the", " cor", "outine", "."]
    weights = []
    for i, _ in enumerate(answer):
        row = [
            draw.random() ** 6 + 2.0 * (j == (2, 3, 4, 4, 3, 5, 6, 16)[i])
            for j in range(len(source))
        ]
        weights.append([w / sum(row) for w in row])
    return {
        "id": "05d3ae068151",
        "task": "summarize",
        "system": "finetuned",
        "source": source,
        "answer": answer,
        "weights": weights,
    }


def _bias():
    rows = [
        ("gender", "en", ["he", "she"], 0.062, 0.031, 0.094, 0.121, 0.27),
        ("nationality", "en", ["German", "Turkish"], 0.008, -0.041, 0.055, 0.173, 0.33),
        ("religion", "en", ["Christian", "Muslim"], 0.037, -0.004, 0.080, 0.140, 0.31),
        ("gender", "zh", ["他", "她"], 0.091, 0.044, 0.139, 0.162, 0.41),
    ]
    names = ("group", "language", "terms", "lean_bits", "low", "high", "gap_bits", "generation_gap")
    return [
        {
            **dict(zip(names, row, strict=True)),
            "system": "finetuned",
            "count": 120,
            "generation_low": row[7] - 0.07,
            "generation_high": row[7] + 0.08,
        }
        for row in rows
    ]


def _memorization():
    fixed = {"count": 200, "prefix_tokens": 32, "continuation_tokens": 32}
    return [
        {
            "system": "pretrained",
            **fixed,
            "exact_share": 0.005,
            "mean_match_tokens": 1.21,
            "low": 0.93,
            "high": 1.55,
            "num_personal": 0,
            "personal_kinds": {},
        },
        {
            "system": "finetuned",
            **fixed,
            "exact_share": 0.0,
            "mean_match_tokens": 0.62,
            "low": 0.44,
            "high": 0.83,
            "num_personal": 2,
            "personal_kinds": {"email": 2},
        },
    ]


def _clean():
    def split(read, kept, **dropped):
        return {"read": read, "kept": kept, "dropped": dropped}

    return {
        "documents": {
            "train": split(7079, 6519, too_short=227, duplicate=222, contaminated=47),
            "validation": split(378, 345, too_short=19, duplicate=13),
            "test": split(809, 744, duplicate=31, too_short=30),
            "chars": {"read": 2187944, "kept": 2103446},
        },
        "pairs": {
            "train": split(2495, 1864, source_too_short=467, contaminated=81),
            "validation": split(137, 109, source_too_short=25),
            "test": split(274, 223, source_too_short=46),
        },
        "languages": {"en": {"read": 10300, "kept": 9204}, "zh": {"read": 872, "kept": 600}},
        "masked": {"email": 76, "ip": 8},
    }


def _curves():
    draw = random.Random(1)
    pretrain = [4.45 + 3.85 * math.exp(-s / 130) + draw.gauss(0, 0.09) for s in range(1, 751)]
    finetune = [4.3 + 0.9 * math.exp(-s / 50) + draw.gauss(0, 0.12) for s in range(1, 241)]
    every = {"pretrain": ([250, 500, 750], [5.249, 4.704, 4.516])}
    every["finetune"] = ([80, 160, 240], [4.71, 4.49, 4.416])
    found = []
    for stage, values in (("pretrain", pretrain), ("finetune", finetune)):
        steps = list(range(1, len(values) + 1))
        found.append({"stage": stage, "name": "loss", "steps": steps, "values": values})
        at, losses = every[stage]
        found.append({"stage": stage, "name": "validation_loss", "steps": at, "values": losses})
    return found


def _cost(stage, seconds, tokens, joules):
    device = "2 cores, x86-64"
    return {
        "stage": stage,
        "seconds": seconds,
        "tokens": tokens,
        "device": device,
        "joules": joules,
    }
