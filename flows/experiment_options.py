"""The options of `wordmill experiment`, for a grid and for a search."""

import argparse

from wordmill.errors import ParamsError

NUM_TRIALS = 20


def add_experiment_options(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "-S",
        dest="asked",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="an axis; for a search also KEY=LOW..HIGH or KEY=LOW..HIGH:log",
    )
    parser.add_argument("--seeds", type=int, help="how many, from that of params.yaml on")
    parser.add_argument("--folds", type=int, help="of cross-validation, each an experiment")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at once (1)")
    parser.add_argument("--name", help="of the grid or search (made from what is asked)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would run")
    parser.add_argument("--search", choices=("random", "bayes"), help="instead of a grid")
    parser.add_argument("--trials", type=int, help=f"of a search, in all ({NUM_TRIALS})")
    parser.add_argument("--goal", help="of a search, such as summarize/rougeL or finetune/loss")
    parser.add_argument(
        "--no-pruning", action="store_true", help="let each trial of a search come to its end"
    )


def check_experiment(arguments: argparse.Namespace) -> None:
    """See that the options go together.

    Raises:
        ParamsError: one is for a grid and one for a search.
    """
    given = {"--trials": arguments.trials, "--goal": arguments.goal}
    given |= {"--no-pruning": arguments.no_pruning or None}
    if arguments.search is None and (odd := [o for o, value in given.items() if value is not None]):
        raise ParamsError(f"{odd[0]} is for a search; add --search random or --search bayes")
    repeated = {"--seeds": arguments.seeds, "--folds": arguments.folds}
    if arguments.search is not None and (
        odd := [o for o, value in repeated.items() if value is not None]
    ):
        raise ParamsError(
            f"{odd[0]} and --search: give one of them; run the best of a search again with {odd[0]}"
        )
