"""The data path against its peers, in one run: speed, what is kept, memory.

    python bench/data.py --peer PYTHON [--megabytes 20] [--repeats 3]

PYTHON is that of an environment with datatrove (`pip install -r bench/peer_datatrove.txt`);
without it cleaning is timed alone. Runs bench/cleaning.py and bench/tokens.py one after the other:
nothing else should run on the machine. Takes about a quarter of an hour.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Print the tables of all questions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", help="python of an environment with datatrove")
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    size, repeats = ["--megabytes", str(asked.megabytes)], ["--repeats", str(asked.repeats)]
    with tempfile.TemporaryDirectory() as folder:
        corpus = ["--corpus", str(Path(folder) / "corpus.jsonl")]
        run("corpus.py", corpus[1], *size)
        peer = ["--peer", asked.peer] if asked.peer else []
        run("cleaning.py", *corpus, *peer, *repeats)
        run("cleaning.py", *corpus, "--memory")
        run("tokens.py", *size, *repeats)
        run("tokens.py", *size, "--memory")


def run(script: str, *arguments: str) -> None:
    """Run a script of this folder; its table goes where ours would."""
    print(f"\n## bench/{script}\n", flush=True)
    subprocess.run([sys.executable, str(HERE / script), *arguments], check=True)


if __name__ == "__main__":
    main()
