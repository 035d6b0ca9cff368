"""The screenshot of a page that the README shows: a loss of one's own beside two others.

    python -m experiments.page

Makes the page, opens it in the Chromium of this machine, and writes page.png beside this file.
Needs the extra `test`, which brings playwright, and a Chromium on the PATH.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from experiments.page.my_losses import tsallis
from jaxent import losses, pages

SHOWN = losses.softmax_cross_entropy, losses.softmax_brier_score, tsallis
# Q is wrong, and torn between the two wrong classes: each loss resolves that differently
VIEW = "z=-5,2.9,2.1&p=1,0,0&rate=0.5&scale=linear&colour=0"
WIDTH, HEIGHT = 1200, 722
PICTURE = Path(__file__).with_name("page.png")


def screenshot(page: Path, chromium: str) -> bytes:
    """The upper part of a page, as PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        window.goto(f"{page.as_uri()}#{VIEW}")
        window.wait_for_function("document.fonts.ready.then(() => true)")
        picture = window.screenshot()
        browser.close()
    return picture


def main() -> int:
    """Take the picture; the exit status."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("python -m experiments.page: there is no Chromium on the PATH", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        page = pages.save_page(SHOWN, Path(folder) / "page.html")
        PICTURE.write_bytes(screenshot(page, chromium))
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
