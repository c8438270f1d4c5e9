"""Rules for every test and doctest.

Nothing a test does reaches the user's own state, configuration or credentials. In CI a missing tool is a
failure, never a skip. Helpers are imported by their full name: ``from tests.browser.lab import Browser``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.whole_suite"]
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
_TOOLS = ("browser", "node")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell starts what it runs in the background so, and the programs under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "project", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# the same examples in every CI run, so that a red build is about the change
settings.register_profile("ci", parent=settings.get_profile("project"), derandomize=True)
settings.load_profile("ci" if IN_CI else "project")


def _forget_the_users_account(patch: pytest.MonkeyPatch, home: Path) -> None:
    theirs = ("OSS_", "OSSMP_", "ALIBABA_CLOUD_", "ALIBABACLOUD_")
    for name in list(os.environ):
        if name.startswith("OSSMP_TEST_"):
            continue  # said to the tests, by who runs them
        if name.startswith(theirs) or name.lower().endswith("_proxy"):
            patch.delenv(name)
    home.mkdir(parents=True, exist_ok=True)
    patch.setenv("HOME", str(home))
    patch.setenv("USERPROFILE", str(home))
    patch.setenv("OSSMP_STATE_DIR", str(home / "ossmp-state"))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        patch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _own_home_for_the_session(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Cover what fixtures of wider scope start."""
    with pytest.MonkeyPatch.context() as patch:
        _forget_the_users_account(patch, tmp_path_factory.mktemp("session-home"))
        yield


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give each test its own journals."""
    monkeypatch.setenv("OSSMP_STATE_DIR", str(tmp_path_factory.mktemp("state")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if IN_CI and report.skipped and any(item.get_closest_marker(tool) for tool in _TOOLS):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where its tool has to be there: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"a whole module skipped in CI: {report.longrepr}"
    return report
