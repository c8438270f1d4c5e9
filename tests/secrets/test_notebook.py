"""A session in a real kernel, with failures and careless settings: nothing that stays holds a key."""

from __future__ import annotations

import json
import os

import nbformat
import pytest

from tests.kernels import run_notebook
from tests.parity.net import Proxy
from tests.secrets.canary import leavings
from tests.secrets.conftest import World

CELLS = """
import logging; logging.basicConfig(level=logging.DEBUG)
%xmode Verbose
%load_ext ossmp_jupyter
%oss_connect oss://demo
%oss_connect
%oss_upload source.bin oss://demo/a.bin --part-size 100KiB --ui widget
%oss_upload source.bin oss://demo/b.bin --part-size 100KiB -b --ui widget
%oss_wait
%oss_uploads
%oss_head a.bin
link = %oss_link a.bin --expires 2d
link, {"link": link}, link.url, vars(type(link))
1 / (link and 0)
%oss_link nosuch.bin
%oss_verify
%oss_parts nosuch
%oss_upload nosuch.bin oss://demo/c.bin
%oss_upload source.bin oss://nobucket/c.bin
from ossmp_jupyter import connect, upload, uploads, OSSClient
connection = connect()
connection, connection.credentials, uploads(), uploads()[0].checkpoint, uploads()[0].result
%oss_connect oss://demo --endpoint http://oss-cn-hangzhou.aliyuncs.com
%oss_upload source.bin oss://demo/p.bin --part-size 100KiB --ui widget
import os; os.environ["http_proxy"] = os.environ.pop("WRONG_PROXY")
%oss_connect oss://demo --endpoint http://oss-cn-beijing.aliyuncs.com
%oss_upload source.bin oss://demo/q.bin --ui widget
os.environ["OSS_ACCESS_KEY_SECRET"] = "wrong"
%oss_connect oss://demo
%oss_upload source.bin oss://demo/d.bin
upload("source.bin", "oss://demo/e.bin").wait()
%tb
%oss_connect oss://demo --endpoint http://127.0.0.1:9
%oss_upload source.bin oss://demo/f.bin
from ossmp_jupyter.notebook import nosuch
""".strip().splitlines()


@pytest.mark.timeout(120)
def test_a_session_in_a_notebook(world: World, proxy: Proxy) -> None:
    world.file()
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    state = world.folder / "state"
    for name, value in {
        **{name: value for name, value in world.oss.environment().items() if "KEY" not in name},
        **world.canaries.environment(),
        "OSSMP_STATE_DIR": str(state),
        "WRONG_PROXY": f"http://me:{world.password[::-1]}@127.0.0.1:{proxy.port}",
        "IPYTHONDIR": str(world.folder / "ipython"),
    }.items():
        world.patch.setenv(name, value)
    run_notebook(notebook, world.folder, timeout=60, allow_errors=True, store_widget_state=True)
    for name in world.canaries.environment():
        os.environ.pop(name, None)
    saved = json.dumps(notebook)

    outputs = {cell.source: json.dumps(cell.outputs) for cell in notebook.cells}
    for cell in (source for source in CELLS if "/a.bin" in source or "/p.bin" in source):
        assert "verified, ETag" in outputs[cell], outputs[cell]
    [cell] = [source for source in CELLS if "/q.bin" in source]
    assert "refused the user name or password" in outputs[cell], outputs[cell]
    failed = [source for source, output in outputs.items() if '"ename"' in output]
    assert len(failed) >= 7, failed
    assert "DEBUG" in saved, "the log was not looked at"
    assert notebook.metadata["widgets"], "the panel was not looked at"
    assert list(state.rglob("*.jsonl"))
    world.canaries.check({"the saved notebook": saved})
    world.canaries.check(leavings(state, world.folder / "ipython"))
