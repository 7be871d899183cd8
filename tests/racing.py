"""Races of eight promotions at once, killed at every step: `python racing.py FOLDER RACES SEED`.

Every promotion is a process of its own, forked once the libraries are loaded, on a real store.
Two of a race's versions are damaged or half-registered, whatever their score. A process that is
killed is started again, as its user would. While they race the alias is read all the time. Ends
badly where a race does not end with the best sound version, one champion throughout, and a log
that is complete, in order, and agrees with the registry.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient
from stores import make_store, registered

from flows.champion_file import LOG_FILE
from flows.moving import ChangedError
from flows.promoting import settled
from flows.promotion import check_agreement, promote
from flows.promotion_log import DisagreementError, PromotionLog
from flows.registry import CHAMPION, Registry
from flows.version_files import check_stored
from flows.workspace import BusyError
from wordmill.errors import DataError, ParamsError

NUM_PROCESSES = 8
STEPS = ("checked", "begun", "begun told", "moved", "freed", "written", "done", "done told")
LIMIT_SECONDS = 600.0
REFUSED = 3


class Race:
    """One race, in a folder of its own."""

    def __init__(self, client, database, folder, draw):
        self.registry, self.database = Registry(client, folder.name), database
        self.folder, self.draw = folder, draw
        self.scores = dict(zip(self.numbers, draw.sample(range(100), NUM_PROCESSES), strict=True))
        bad = draw.sample(self.numbers, 2)
        # The best one is unsound in every second race: it has to be refused, not only outrun.
        if draw.random() < 0.5:
            bad[0] = max(self.numbers, key=self.scores.__getitem__)
        self.bad = dict(zip(dict.fromkeys(bad), draw.sample(DAMAGES, 2), strict=False))
        self.best = max((n for n in self.numbers if n not in self.bad), key=self.scores.get)
        self.killed_at = Counter()

    numbers = tuple(str(number) for number in range(1, NUM_PROCESSES + 1))

    def run(self):
        self.folder.mkdir()
        assert wait(self.child(self.prepare)) == 0
        plans = {
            number: [self.draw.choice(STEPS) for _ in range(self.draw.choice((0, 0, 1, 1, 2)))]
            for number in self.numbers
        }
        # The best sound version passes every step, however the processes are scheduled.
        plans[self.best] = plans[self.best] or [self.draw.choice(STEPS)]
        started = time.monotonic()
        running = {self.contender(number, plans[number]): number for number in self.numbers}
        until_kill = self.draw.uniform(0.02, 0.3)
        seen = []
        while running:
            assert time.monotonic() - started < LIMIT_SECONDS, "a race hangs"
            self.watch(seen)
            if time.monotonic() - started > until_kill and self.killed_at["anywhere"] < 2:
                os.kill(self.draw.choice(list(running)), signal.SIGKILL)
                self.killed_at["anywhere"] += 1
                until_kill += self.draw.uniform(0.02, 0.5)
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                time.sleep(0.005)
                continue
            number, code = running.pop(pid), os.waitstatus_to_exitcode(status)
            if code == -signal.SIGKILL:
                if (mark := self.folder / f"killed-{pid}").exists():
                    step = mark.read_text()
                    plans[number].remove(step)
                    self.killed_at[step] += 1
                running[self.contender(number, plans[number])] = number
            else:
                assert code == (REFUSED if number in self.bad else 0), (number, code, self.bad)
        self.watch(seen)
        assert wait(self.child(self.check)) == 0
        assert seen[-1] == self.best, (seen, self.best)
        return len(seen)

    def prepare(self):
        self.registry.create_if_absent()
        for number in self.numbers:
            how = self.bad.get(number)
            folder = self.folder / "versions" / number
            found = registered(
                self.registry, folder, score=self.scores[number], is_tested=how != "untested"
            )
            assert found == number
            if how is not None:
                damage(how, folder)

    def contender(self, number, plan):
        return self.child(lambda: self.contend(number, plan))

    def contend(self, number, plan):
        """Promote a version unless the champion that this process sees is as good."""

        def step(name):
            if plan and name == plan[0]:
                (self.folder / f"killed-{os.getpid()}").write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)

        while True:
            champion = self.registry.holder_of(CHAMPION)
            if champion is not None and self.score_of(champion) >= self.score_of(number):
                # Whatever its score, an unsound version has to be refused where it asks.
                os._exit(REFUSED if number in self.bad else 0)
            try:
                promote(
                    self.registry,
                    number,
                    expected=champion,
                    reason="",
                    by=f"contender {number}",
                    verdict=None,
                    check=check_stored,
                    step=step,
                )
                os._exit(0)
            except (BusyError, ChangedError):
                time.sleep(random.uniform(0.05, 0.3))
            except DisagreementError:
                raise
            except (DataError, ParamsError):
                os._exit(REFUSED)

    def score_of(self, number):
        return float(self.registry.version(number).tags["score"])

    def watch(self, seen):
        """Read the alias: one champion, sound, better than those before, and never none again."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=60)) as db:
            question = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
            rows = db.execute(question, (self.registry.name, CHAMPION)).fetchall()
        assert len(rows) <= 1
        assert rows or not seen, "no champion any more"
        found = str(rows[0][0]) if rows else None
        if found is not None and found not in seen[-1:]:
            assert found not in self.bad, f"{found} is {self.bad[found]}"
            assert not seen or self.scores[found] > self.scores[seen[-1]]
            seen.append(found)

    def check(self):
        """What the next command does and finds."""
        settled(self.registry)
        check_agreement(self.registry)
        log = PromotionLog(LOG_FILE)
        assert log.problems() == []
        lines = log.lines()
        kinds = [line["kind"] for line in lines]
        assert all(kind == "begun" for kind in kinds[::2])
        assert all(kind in ("done", "undone") for kind in kinds[1::2])
        assert len(lines) % 2 == 0
        before = None
        for entry, _ in log.done():
            assert entry["from_version"] == before
            before = entry["to_version"]
        assert before == self.best == self.registry.holder_of(CHAMPION)

    def child(self, work):
        """A process that does this in the race's folder; its id."""
        if pid := os.fork():
            return pid
        code = 1
        try:
            os.chdir(self.folder)
            with (self.folder / "said").open("a") as said:
                os.dup2(said.fileno(), 2)
            random.seed(os.getpid())
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)


DAMAGES = ("flipped", "missing", "untested", "cut off")


def damage(how, folder):
    weights = folder / "artifacts/model/model.safetensors"
    data = weights.read_bytes()
    if how == "flipped":
        weights.write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    elif how == "missing":
        weights.unlink()
    elif how == "cut off":
        weights.write_bytes(data[:-1])


def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(folder, races, seed):
    database = folder / "mlflow.db"
    address = make_store(database)
    client = MlflowClient(address, address)
    client.search_registered_models()  # opens the store once for all
    client._get_registry_client().store.engine.dispose()  # a connection must not be forked
    killed_at, champions = Counter(), 0
    for number in range(races):
        race = Race(client, database, folder / f"race{number}", random.Random(f"{seed} {number}"))
        try:
            champions += race.run()
        except AssertionError:
            print((race.folder / "said").read_text()[-3000:], file=sys.stderr)
            raise
        killed_at += race.killed_at
        shutil.rmtree(race.folder)
    report = {"races": races, "champions": champions, "kills": killed_at.total()}
    print(json.dumps({**report, "killed_at": killed_at}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
