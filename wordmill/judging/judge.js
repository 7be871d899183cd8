"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  const parts = ["booth", "done", "result"];
  const only = (id) => parts.forEach((part) => { by(part).hidden = part !== id; });
  let total = 0;
  let number = null; // of the example on the page; null when all are judged
  let isBusy = false; // a second key must not vote on what was not yet read

  const ask = async (path, body) => {
    const options = body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    };
    const answer = await fetch(path, options);
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    return told;
  };
  const tell = (trouble) => {
    by("trouble").textContent = trouble;
    by("trouble").hidden = !trouble;
  };
  const carefully = async (work) => {
    if (isBusy) return;
    isBusy = true;
    try {
      await work();
      tell("");
    } catch (error) {
      tell(error instanceof TypeError
        ? "The server has ended. Start it again with the same command; votes so far are kept." : error.message);
    } finally {
      isBusy = false;
    }
  };

  const measure = (state) => {
    total = state.total;
    by("bar").max = total;
    by("bar").value = state.done;
    by("position").textContent = `${state.done} of ${total} judged`;
  };
  const show = async (which) => {
    number = which;
    if (number === null) {
      only("done");
      by("end").focus();
      return;
    }
    const example = await ask(`example?number=${number}`);
    by("task").textContent = `${example.task} · ${number + 1} of ${total}`;
    ["source", "target"].forEach((name) => { by(name).textContent = example[name]; });
    ["left", "right"].forEach((side) => {
      const isEmpty = !example[side].trim();
      by(side).textContent = isEmpty ? "nothing" : example[side];
      by(side).classList.toggle("nothing", isEmpty);
      by(side).closest(".answer").classList.toggle("chosen", example.choice === side);
    });
    by("ask").textContent = example.ask;
    by("ask").hidden = !example.ask;
    by("wanted").open = false;
    by("back").disabled = number === 0;
    document.querySelectorAll("[data-choice]").forEach((b) =>
      b.setAttribute("aria-pressed", String(b.dataset.choice === example.choice)));
    only("booth");
    by("source").scrollTop = 0;
    window.scrollTo(0, 0);
  };
  const vote = (choice) => carefully(async () => {
    const state = await ask("vote", { number, choice });
    measure(state);
    await show(state.next);
  });
  const back = () => carefully(() => show(number === null ? total - 1 : Math.max(0, number - 1)));
  const end = () => carefully(async () => {
    const found = await ask("end", {});
    const percent = (share) => `${(100 * share).toFixed(0)}%`;
    const isLevel = found.low <= 0.5 && found.high >= 0.5;
    by("headline").textContent = isLevel
      ? `${found.a} and ${found.b} can't be told apart` : `${found.a} is preferred to ${found.b}`;
    by("told").textContent = `${found.a} wins ${found.wins_a}, ${found.b} wins ${found.wins_b}, ` +
      `${found.ties} tied: win rate of ${found.a} ${percent(found.rate)} ` +
      `(95% ${percent(found.low)} to ${percent(found.high)}), p = ${found.p.toPrecision(2)}.`;
    only("result");
  });

  document.querySelectorAll("[data-choice]").forEach((button) =>
    button.addEventListener("click", () => vote(button.dataset.choice)));
  by("back").addEventListener("click", back);
  by("again").addEventListener("click", back);
  by("end").addEventListener("click", end);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "b" && !by("result").hidden) return;
    if (key === "b" && number !== 0) back();
    if (by("booth").hidden) return;
    const button = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (key === "r") by("wanted").open = !by("wanted").open;
    if (button) {
      event.preventDefault();
      vote(button.dataset.choice);
    }
  });
  carefully(async () => {
    const state = await ask("state");
    measure(state);
    await show(state.next);
  });
})();
