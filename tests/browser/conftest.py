"""One Jupyter server for all tests of this folder, a browser per module, a page and an OSS per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import APPS, Browser, NotebookPage, chromium_path
from tests.browser.server import JupyterServer

_SECOND = {"test_survival", "test_hub", "test_look", "test_tab", "test_native"}

_SLEEPS = "test_tabs_that_were_closed_for_a_minute"


# before xdist reads the groups
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # two workers drive a browser each; the others have the rest of the suite meanwhile
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            group = "browser-2" if item.path.stem in _SECOND else "browser"
            if item.name == _SLEEPS:
                group = "browser-3"
            item.add_marker(pytest.mark.xdist_group(group))
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    if chromium_path() is None:
        pytest.skip("no Chromium; on Debian: apt-get install chromium")
    folder = tmp_path_factory.mktemp("jupyter")
    with JupyterServer(folder, {"OSSMP_STATE_DIR": str(folder / "state")}) as server:
        yield server


@pytest.fixture(scope="module")
def browser(jupyter: JupyterServer) -> Iterator[Browser]:
    # no longer than the module: playwright keeps an event loop running, and other tests need their own
    with Browser() as chromium:
        yield chromium


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


_FAILED = pytest.StashKey[bool]()


@pytest.fixture(params=list(APPS))
def app(request: pytest.FixtureRequest) -> str:
    """The front end: ``lab`` or ``notebook``."""
    name: str = request.param
    return name


@pytest.fixture
def window() -> dict[str, Any]:
    """Viewport and scale of the page, where a test wants its own."""
    return {}


@pytest.fixture
def page(
    app: str,
    jupyter: JupyterServer,
    browser: Browser,
    window: dict[str, Any],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Iterator[NotebookPage]:
    page = NotebookPage(jupyter, browser, app, **window)
    yield page
    if request.node.stash.get(_FAILED, False):
        page.screenshot(tmp_path / "failed.png")
        print(f"screenshot: {tmp_path / 'failed.png'}")
        print("\n".join(page.console[-20:]))
        print(jupyter.log()[-3000:])
    page.close()


@pytest.fixture
def oss() -> Iterator[LocalOSS]:
    with LocalOSS(buckets=("demo",)) as server:
        yield server


@pytest.fixture
def setup_cell(oss: LocalOSS, tmp_path: Path) -> Callable[[], str]:
    """The first cell of a test's notebook: connects to the test's own OSS, with its own journals."""

    def source() -> str:
        variables = {**oss.environment(), "OSSMP_STATE_DIR": str(tmp_path / "state")}
        return (
            f"import os\nos.environ.update({variables!r})\n%load_ext ossmp_jupyter\n%oss_connect oss://demo"
        )

    return source
