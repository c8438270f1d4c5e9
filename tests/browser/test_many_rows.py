"""Two hundred rows: those in view move at once, the others soon, and a change of state is never late."""

from __future__ import annotations

import time

from ossmp_jupyter.notebook.scripts import module_text
from tests.browser.lab import Browser

DRAW = """async (script) => {
const { draw } = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
const hub = { send() {}, get: () => [], on: (_, hear) => { window.hear = hear; }, off() {} };
draw(hub, null, document.body);
const same = { state: "uploading", words: "uploading", address: "oss://b/k", percent: 1, size: "1 B / 9 B" };
window.rows = [...Array(200).keys()].map((i) => ({ ...same, id: "u" + i, name: i + ".bin" }));
hear({ t: "rows", n: 1, rows, order: rows.map((row) => row.id), active: true });
}"""
TELL = """async ([n, words]) => {
hear({ t: "rows", n, rows: rows.map((row) => ({ ...row, words, percent: 10 * n })), active: true });
for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
}"""
PERCENTS = "[...document.querySelectorAll('.ossmp-bar')].map((bar) => +bar.ariaValueNow)"


def test_rows_out_of_view(browser: Browser) -> None:
    page = browser.context().new_page()
    page.set_content("<body></body>")
    page.evaluate(DRAW, module_text("panel"))
    page.wait_for_timeout(1500)  # what is in view is known now
    began = time.monotonic()
    page.evaluate(TELL, [2, "uploading"])
    page.evaluate(TELL, [3, "uploading"])
    shown = page.evaluate(PERCENTS)
    assert set(shown[:5]) == {30}, "what is in view is late"
    if time.monotonic() - began < 0.8:  # else the others' second is over
        assert shown[-1] < 30, "all 200 rows are painted every time"
    page.wait_for_function(f"({PERCENTS}).every((percent) => percent === 30)", timeout=5000)
    page.evaluate(TELL, [4, "paused"])
    page.evaluate(TELL, [5, "aborted"])
    words = page.evaluate("[...document.querySelectorAll('.ossmp-words')].map((one) => one.textContent)")
    assert set(words) == {"aborted"}, "a change of state is late"
