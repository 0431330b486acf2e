"""A real browser: the system's chromium, driven by Playwright, that remembers what its console said."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

DESKTOP, PHONE = (1280, 860), (390, 844)
ACTION_MILLISECONDS = 90_000
GRAVE = ("serious", "critical")
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """Its path; skips the test where there is none."""
    found = next((path for path in map(shutil.which, _NAMES) if path), None)
    if found is None:
        pytest.skip("needs chromium: .ci/provide servers")
    return found


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Chromium without a window, without an address outside."""
    path = find_chromium()
    from playwright.async_api import async_playwright  # noqa: PLC0415 - half a second that only these tests need

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_page(browser: Browser, *, size: tuple[int, int] = DESKTOP, **settings: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page of its own session, and the warnings and errors of its console (violations of the CSP among them)."""
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **settings)
    try:
        context.set_default_timeout(ACTION_MILLISECONDS)
        page = await context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type in {"warning", "error"} else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        yield page, said
    finally:
        await context.close()


async def find_barriers(page: Page) -> list[str]:
    """What axe-core calls serious or critical on the page as it stands: rule, and where."""
    await page.evaluate(_read_axe())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations)")
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
        if each["impact"] in GRAVE
    ]


@cache
def _read_axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
