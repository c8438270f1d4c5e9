"""Take docs/images/panel.png: the real panel in a real JupyterLab, uploading to the embedded OSS."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ossmp_jupyter.localoss import LocalOSS  # noqa: E402
from tests.browser.lab import Browser, NotebookPage  # noqa: E402
from tests.browser.panel import PanelOfCell  # noqa: E402
from tests.browser.server import JupyterServer  # noqa: E402

MIB = 1 << 20
FILES = {"march.parquet": 9, "april.parquet": 21, "model-v7.safetensors": 96, "survey.zip": 64}


def main(target: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        LocalOSS(buckets=("my-bucket",), bandwidth="40MB/s") as oss,
        JupyterServer(Path(name), {**oss.environment(), "OSSMP_STATE_DIR": f"{name}/state"}) as server,
        Browser() as browser,
    ):
        for file, size in FILES.items():
            (server.notebooks / file).write_bytes(os.urandom(size * MIB))
        page = NotebookPage(server, browser, "lab", viewport=(1400, 820), scale=1.5)
        page.open(
            [
                "%load_ext ossmp_jupyter\n%oss_connect oss://my-bucket",
                "%oss_upload -q march.parquet tables/\n"
                "%oss_upload -b --ui none april.parquet tables/\n"
                "%oss_upload -b --ui none survey.zip raw/ --part-size 2MiB\n"
                "%oss_upload -b --ui none model-v7.safetensors models/ --part-size 2MiB --meta owner=me",
                "%oss_uploads",
            ]
        )
        page.theme("JupyterLab Light")
        page.run_all()
        page.wait_cell(2)
        panel = PanelOfCell(page, 2)
        survey, model, april = (panel.of(name) for name in ("survey.zip", "model-v7", "april"))
        survey.wait_percent(35)
        survey.select()
        panel.click("Pause")
        survey.wait_state("paused")
        april.wait_state("done")
        model.wait_percent(42)
        oss.set_bandwidth("9MB/s")
        model.select()
        panel.click("List parts")
        page.sleep(2.5)
        target.parent.mkdir(parents=True, exist_ok=True)
        page.cell(2).screenshot(path=str(target))
        page.screenshot(target.with_name("whole-page.png")) if "--page" in sys.argv else None
        page.close()


if __name__ == "__main__":
    main(ROOT / "docs" / "images" / "panel.png")
