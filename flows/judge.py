"""`wordmill judge`: two systems' answers side by side, without names, for a person to choose."""

from pathlib import Path

from wordmill.errors import ParamsError
from wordmill.judging.answers import read_answers
from wordmill.judging.ballot import ballot
from wordmill.judging.server import Booth, judged
from wordmill.judging.votes import FOLDER, VoteFile

_PREDICTIONS = Path("data/evaluate/predictions.jsonl")

_MAX_PORT = 65535


def judge(a: str, b: str, *, samples: int, seed: int, port: int, name: str = "") -> int:
    """Serve the page until the result is asked for or Ctrl-C, and return the exit status.

    Args:
        a: a system in data/evaluate/predictions.jsonl, or FILE:SYSTEM.
        b: the other.
        samples: examples at most.
        seed: which ones, in which order, and what stands on the left.
        port: 0 takes a free one.
        name: the judge's; each has votes of their own.

    Raises:
        ParamsError: no such system, or the port is taken.
        DataError: there is nothing to compare.
    """
    if samples < 1:
        raise ParamsError(f"--samples {samples}: at least 1 is needed")
    if not 0 <= port <= _MAX_PORT:
        raise ParamsError(f"--port {port}: from 0, a free one, to {_MAX_PORT}")
    drawn = ballot(
        read_answers(a, default=_PREDICTIONS),
        read_answers(b, default=_PREDICTIONS),
        samples=samples,
        seed=seed,
    )
    votes = VoteFile(Path(FOLDER), drawn, judge=name)
    alike = f" ({drawn.num_alike} more are answered alike)" if drawn.num_alike else ""
    print(f"{len(drawn.duels)} of {drawn.num_common - drawn.num_alike} examples{alike}")

    def announce(address: str) -> None:
        print(
            f"judge at   {address}\nvotes in   {votes.path}\nCtrl-C stops; go on any time.",
            flush=True,
        )

    booth = Booth(drawn, votes)
    if booth.result is not None:
        print(f"all is judged\n{_words(booth.result)}")
        return 0
    result = judged(booth, port=port, announce=announce)
    if result is None:
        done = len(votes.choices())
        print(f"\n{done} of {len(drawn.duels)} judged; the same command goes on from there.")
        return 0
    print(_words(result))
    return 0


def _words(result: dict[str, float | int | str]) -> str:
    a, b = result["a"], result["b"]
    rate, low, high = (f"{100 * float(result[end]):.0f}%" for end in ("rate", "low", "high"))
    return (
        f"{a} wins {result['wins_a']}, {b} wins {result['wins_b']}, {result['ties']} tied,"
        f" {result['skips']} skipped\n"
        f"win rate of {a} {rate} (95% {low} to {high}; ties count half),"
        f" sign test p = {float(result['p']):.2g}\n"
        "`wordmill report` shows it beside the scores."
    )
