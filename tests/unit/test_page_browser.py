"""The page in a real browser: no errors, no requests, leafing works, nothing sticks out."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager

import pytest
from sample_record import empty_record, empty_surroundings, full_record, full_surroundings

from wordmill.report.page import page

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

pytestmark = pytest.mark.skipif(not BROWSER, reason="no chromium or chrome on PATH")

_OWN = "not an origin"

# Reads the report in a frame of a phone's width, works it, and writes down what it saw.
CHECK = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<iframe id="frame" style="width:390px;height:800px;border:0"></iframe><pre id="seen"></pre>
<script>
const frame = document.getElementById("frame");
frame.onload = () => {
  const { contentDocument: page, contentWindow: view } = frame;
  const all = (selector) => [...page.querySelectorAll(selector)];
  const now = () => [
    all(".sample").findIndex((s) => !s.hidden) + 1, page.getElementById("position").textContent,
  ];
  const press = (selector) => { page.querySelector(selector).click(); return now(); };
  const seen = { width: page.documentElement.scrollWidth };
  const mayStickOut = ".scroll, nav, .skip, svg, thead, details:not([open])";
  seen.out = all("body *").filter((e) => !e.closest(mayStickOut))
    .filter((e) => e.getBoundingClientRect().right > 391).map((e) => e.outerHTML.slice(0, 80));
  if (page.getElementById("position")) {
    seen.fragment = now();
    seen.after = press("#after");
    seen.before = press("#before");
    seen.worst = press('[data-filter="why"][data-value="worst"]');
    seen.none = press('[data-filter="task"][data-value="answer"]');
    seen.answers = press('[data-filter="why"][data-value=""]');
    const key = new view.KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true });
    page.getElementById("examples").dispatchEvent(key);
    seen.key = now();
    const piece = all(".gaze .piece")[3];
    piece.click();
    const weights = all(".gaze .seen").map((s) => Number(s.style.getPropertyValue("--w")));
    seen.gaze = [piece.getAttribute("aria-pressed"), weights.indexOf(Math.max(...weights))];
    page.querySelector(".heat i").click();
    seen.told = page.querySelector(".told").textContent;
    page.getElementById("theme").click();
    page.getElementById("theme").click();
    seen.theme = page.documentElement.dataset.theme;
    seen.dark = view.getComputedStyle(page.body).backgroundColor;
  }
  all("details").forEach((d) => { d.open = true; });
  seen.wide = [340, 390, 720, 800, 960, 1100].filter((width) => {
    frame.style.width = `${width}px`;
    return page.documentElement.scrollWidth > width;
  });
  document.getElementById("seen").textContent = JSON.stringify(seen);
};
frame.src = "report.html#example-3";
</script>"""


@contextmanager
def served(folder):
    """The folder over HTTP; yields the port and the paths that were asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def browse(tmp_path, address, *options):
    """What the browser prints, its console's lines, and the addresses that a page asked for."""
    log = tmp_path / "net.json"
    command = [
        *(BROWSER, "--headless", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *(f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}"),
        *("--virtual-time-budget=4000", *options, address),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # The browser asks for things of its own, without an origin.
    asked = {e["url"] for e in events if "url" in e and e.get("initiator", _OWN) != _OWN}
    return run.stdout, console, asked


def seen_by_browser(tmp_path, text):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "report.html").write_text(text, encoding="utf-8")
    (folder / "check.html").write_text(CHECK, encoding="utf-8")
    with served(folder) as (port, paths):
        address = f"http://127.0.0.1:{port}/check.html"
        printed, console, asked = browse(tmp_path, address, "--dump-dom")
    assert console == []
    assert paths == ["/check.html", "/report.html"]
    assert asked == {f"http://127.0.0.1:{port}/report.html#example-3"}  # by the check
    found = re.search(r'<pre id="seen">(.*?)</pre>', printed, re.DOTALL)
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def test_these_tests_would_see_errors_and_requests(tmp_path):
    file = tmp_path / "bad.html"
    file.write_text("<script>nobody()</script><img src='http://127.0.0.1:9/x.png'>")
    _, console, asked = browse(tmp_path, file.as_uri(), "--dump-dom")
    assert "nobody is not defined" in console[0]
    assert asked == {"http://127.0.0.1:9/x.png"}


def test_the_page_works_on_a_phone_and_asks_for_nothing(tmp_path):
    seen = seen_by_browser(tmp_path, page(full_record(), full_surroundings()))
    assert seen["width"] <= 390
    assert seen["out"] == []
    assert seen["wide"] == []
    assert seen["fragment"] == [3, "3 of 6"]
    assert seen["after"] == [4, "4 of 6"]
    assert seen["before"] == [3, "3 of 6"]
    assert seen["worst"] == [3, "1 of 1"]
    assert seen["none"] == [0, "none"]
    assert seen["answers"] == [5, "1 of 2"]
    assert seen["key"] == [6, "2 of 2"]
    assert seen["gaze"] == ["true", 4]
    assert "nats, probability" in seen["told"]
    assert seen["theme"] == "dark"
    assert seen["dark"] == "rgb(20, 23, 27)"


def test_hostile_texts_run_nothing(tmp_path):
    record = full_record()
    evil = "</script><script>console.error('ran')</script><img src='http://example.org/x'>"
    record["examples"][0]["predictions"]["lead"] = evil
    record["attentions"][0]["source"][0] = evil
    record["surprises"][0]["pieces"][0] = evil
    seen = seen_by_browser(tmp_path, page(record, full_surroundings()))
    assert seen["out"] == []


def test_an_empty_report_has_no_errors_either(tmp_path):
    seen = seen_by_browser(tmp_path, page(empty_record(), empty_surroundings()))
    assert seen["width"] <= 390


def test_it_draws_from_a_file(tmp_path):
    file, picture = tmp_path / "report.html", tmp_path / "picture.png"
    file.write_text(page(full_record(), full_surroundings()), encoding="utf-8")
    size = "--window-size=1280,2400"
    _, console, asked = browse(tmp_path, file.as_uri(), f"--screenshot={picture}", size)
    assert console == []
    assert asked == set()
    assert picture.stat().st_size > 50_000
