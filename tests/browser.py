"""A real browser, for tests of what is written in JavaScript."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Never

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The Chromium of this machine, started and closed again.

    Without playwright or Chromium the test that asked is skipped; with JAXENT_REQUIRE_BROWSER=1 it
    fails. Playwright runs once at a time in a process, so a fixture around this has the scope of a
    module and not of the session.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        _do_without("playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        _do_without("Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def _do_without(what: str) -> Never:
    sentence = f"There is no {what} on this machine."
    if os.environ.get("JAXENT_REQUIRE_BROWSER") == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)
