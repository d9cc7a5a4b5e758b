"""Takes the pictures of the live view that the documentation shows: light, dark, and on a phone.

    smolvla-ros arm --instruction "touch the red cube"
    smolvla-ros view
    python docs/picture_view.py http://localhost:8080
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

IMAGES = Path(__file__).with_name("images")
# Beside a policy software WebGL takes its time.
PATIENCE_MS = 120_000
SETTLED_MS = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="as `smolvla-ros view` printed it")
    address = parser.parse_args().address
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        desk = opened(browser, address, 1280, 800)
        save(desk, "view_light.png")
        desk.get_by_role("checkbox", name="dark").check(force=True)
        save(desk, "view_dark.png")
        desk.get_by_role("checkbox", name="dark").uncheck(force=True)
        desk.close()
        save(opened(browser, address, 390, 844), "view_phone.png")
        browser.close()


def opened(browser: Browser, address: str, width: int, height: int) -> Page:
    """The view once it shows the arm's state, without viser's note on software rendering."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    expect(page.get_by_role("status")).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_timeout(SETTLED_MS)
    for note in page.get_by_role("alert").all():
        note.get_by_role("button").click()
    return page


def save(page: Page, name: str) -> None:
    page.evaluate("document.querySelectorAll('*').forEach((part) => (part.scrollTop = 0))")
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    main()
