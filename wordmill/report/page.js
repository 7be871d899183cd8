"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Light, dark, or as the system says. Storage may be closed to a page opened from a file.
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  const kept = (() => { try { return localStorage.getItem("wordmill-theme"); } catch { return null; } })();
  const wear = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    button.dataset.now = theme;
    button.textContent = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[theme];
    button.setAttribute("aria-label", `Colours: ${theme}. Change`);
    try { localStorage.setItem("wordmill-theme", theme); } catch { /* only this page then */ }
  };
  wear(themes.includes(kept) ? kept : "auto");
  button.addEventListener("click", () => wear(themes[(themes.indexOf(button.dataset.now) + 1) % 3]));

  // Examples: one at a time, those that pass both filters.
  const samples = all(".sample");
  const chosen = { why: "", task: "" };
  const section = document.getElementById("examples");
  let at = 0;
  const passing = () => samples.filter((s) =>
    Object.entries(chosen).every(([name, value]) => !value || s.dataset[name] === value));
  const show = () => {
    const shown = passing();
    at = Math.max(0, Math.min(at, shown.length - 1));
    samples.forEach((s) => { s.hidden = s !== shown[at]; });
    document.getElementById("position").textContent =
      shown.length ? `${at + 1} of ${shown.length}` : "none";
    document.getElementById("before").disabled = at <= 0;
    document.getElementById("after").disabled = at >= shown.length - 1;
  };
  const step = (by) => { at += by; show(); };
  const follow = () => {
    const found = /^#example-(\d+)$/.exec(location.hash);
    if (!found) return;
    chosen.why = chosen.task = "";
    at = Number(found[1]) - 1;
    press();
    show();
    section.scrollIntoView();
  };
  const press = () => all("[data-filter]", section).forEach((b) =>
    b.setAttribute("aria-pressed", String(chosen[b.dataset.filter] === b.dataset.value)));
  if (samples.length) {
    all("[data-filter]", section).forEach((b) => b.addEventListener("click", () => {
      chosen[b.dataset.filter] = b.dataset.value;
      at = 0;
      press();
      show();
    }));
    document.getElementById("before").addEventListener("click", () => step(-1));
    document.getElementById("after").addEventListener("click", () => step(1));
    section.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") step(-1);
      if (event.key === "ArrowRight") step(1);
    });
    window.addEventListener("hashchange", follow);
    show();
    follow();
  }

  // Surprise: the piece under the pointer in words; a tap does it too.
  all(".heat").forEach((heat) => {
    const told = heat.parentElement.querySelector(".told");
    const tell = (event) => {
      const says = event.target.title;
      if (says) told.textContent = `“${event.target.textContent.trim() || "space"}”  ${says}`;
    };
    heat.addEventListener("mouseover", tell);
    heat.addEventListener("click", tell);
  });

  // Attention: a piece of the answer shades the source.
  all(".gaze").forEach((gaze) => {
    const data = JSON.parse(gaze.querySelector("script").textContent);
    const seen = all(".seen", gaze);
    const pieces = all(".piece", gaze);
    const shown = (piece) => {
      const text = piece?.textContent ?? "";
      return text.trim() || (text.includes("\n") ? "a line's end" : "a space");
    };
    const look = (i) => {
      pieces.forEach((p, j) => p.setAttribute("aria-pressed", String(i === j)));
      seen.forEach((s, j) => s.style.setProperty("--w", data.rows[i][j] ?? 0));
      const most = data.rows[i].indexOf(Math.max(...data.rows[i]));
      gaze.querySelector(".told").textContent =
        `“${shown(pieces[i])}” looks most at “${shown(seen[most])}”: ` +
        `${(100 * data.tops[i]).toFixed(0)}% of its attention`;
    };
    pieces.forEach((p, i) => {
      p.addEventListener("mouseenter", () => look(i));
      p.addEventListener("focus", () => look(i));
      p.addEventListener("click", () => look(i));
    });
    look(0);
  });

  window.addEventListener("beforeprint", () => all("details").forEach((d) => { d.open = true; }));
})();
