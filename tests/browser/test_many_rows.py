"""Two hundred rows: those in view move at once, the others soon, and a change of state is never late."""

from __future__ import annotations

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
AWAY = "[...document.querySelectorAll('.ossmp-uploads tbody')].at(-1).ossmp.away"
TWICE = f"""async (n) => {{
const began = performance.now(), tell = {TELL};
await tell([n, "uploading"]);
await tell([n + 1, "uploading"]);
return [{PERCENTS}, performance.now() - began];
}}"""


def test_rows_out_of_view(browser: Browser) -> None:
    page = browser.context().new_page()
    page.set_content("<body></body>")
    page.evaluate(DRAW, module_text("panel"))
    page.wait_for_function(AWAY)  # what is in view is known now
    for n in range(2, 20, 2):
        page.wait_for_timeout(1500)  # the second of those that are not in view is over
        shown, took = page.evaluate(TWICE, n)
        assert set(shown[:5]) == {10 * n + 10}, "what is in view is late"
        if took < 800:  # else it is over again, on a machine that stood still
            break
    assert shown[-1] < 10 * n + 10, "all 200 rows are painted every time"
    page.wait_for_function(f"({PERCENTS}).every((percent) => percent === {10 * n + 10})")
    page.evaluate(TELL, [n + 2, "paused"])
    page.evaluate(TELL, [n + 3, "aborted"])
    words = page.evaluate("[...document.querySelectorAll('.ossmp-words')].map((one) => one.textContent)")
    assert set(words) == {"aborted"}, "a change of state is late"
