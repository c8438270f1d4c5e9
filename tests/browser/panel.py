"""What a person does with the upload panel of one cell."""

from __future__ import annotations

from playwright.sync_api import Locator

from tests.browser.lab import NotebookPage


class PanelOfCell:
    """The panel that cell `i` shows."""

    def __init__(self, page: NotebookPage, i: int, address: str = "") -> None:
        self._page, self._i, self._cell, self._address = page, i, page.cell(i), address

    def of(self, address: str) -> PanelOfCell:
        """The same panel, with another upload in view."""
        return PanelOfCell(self._page, self._i, address)

    @property
    def root(self) -> Locator:
        return self._cell.locator(".ossmp-panel").first

    @property
    def row(self) -> Locator:
        """The upload in view: the first whose name or address holds the text asked for."""
        return self.root.locator("tr[data-id]").filter(has_text=self._address).first

    def attribute(self, name: str) -> str:
        return self.row.get_attribute(name) or "" if self.row.count() else ""

    @property
    def upload_id(self) -> str:
        return self.attribute("data-upload-id")

    @property
    def percent(self) -> int:
        bar = self.row.get_by_role("progressbar")
        return int(bar.get_attribute("aria-valuenow") or 0) if bar.count() else 0

    def wait_percent(self, at_least: int, timeout: float = 30) -> int:
        self._page.until(lambda: self.percent >= at_least, timeout, f"the bar did not reach {at_least} %")
        return self.percent

    def wait_parts(self, at_least: int, timeout: float = 30) -> int:
        """Wait until the panel says that so many parts are done; how many it says."""
        self._page.until(lambda: self.parts_done >= at_least, timeout, f"there are no {at_least} parts")
        return self.parts_done

    @property
    def parts_done(self) -> int:
        """How many parts the kernel knows to be stored."""
        done = self.row.locator("td").nth(5).inner_text().partition("/")[0] if self.row.count() else ""
        return int(done) if done else 0

    def wait_state(self, state: str, timeout: float = 30) -> None:
        def there() -> bool:
            return self.attribute("data-state") == state or (state == "done" and self.is_table)

        self._page.until(there, timeout, f"the upload is not {state}")

    def wait_redrawn(self, state: str) -> None:
        """Wait until the kernel has had the panel drawn anew, which it does when all its uploads have ended.

        What a button or a question showed a moment before is not in the new one.
        """
        self.wait_state(state)

        def there() -> bool:
            lines = self._page.kept_text(self._i).splitlines()
            return any(self._address in line and state in line for line in lines)

        self._page.until(there, 30, f"the display was not drawn anew when the upload was {state}")
        self.root.locator("tr[data-id]").first.wait_for()

    @property
    def is_table(self) -> bool:
        """Whether a plain table that says done has taken the panel's place."""
        rows = self._cell.locator(".jp-RenderedHTML table tbody tr").filter(has_text=self._address)
        return self.root.count() == 0 and rows.count() > 0 and "done" in rows.first.inner_text()

    def select(self) -> None:
        """Choose the upload by its radio button."""
        self.row.get_by_role("radio").check()

    def click(self, text: str) -> None:
        """A real click on a button with exactly this text."""
        self.root.get_by_role("button", name=text, exact=True).click()

    def abort(self) -> None:
        self.click("Abort")
        self.click("Yes, abort")

    def parts(self) -> list[tuple[int, str]]:
        """Number and ETag of each part in the table of parts."""
        rows = self.root.locator("table.ossmp-parts tbody tr")
        return [
            (int(row.locator("td").nth(0).inner_text()), row.locator("td").nth(2).inner_text())
            for row in rows.all()
        ]
