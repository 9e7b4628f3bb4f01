"""The consumer's pages in a real browser: headless Chromium, Debian's package."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright
from support import PASSWORD, lab_post

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]


@pytest.fixture(scope="module")
def browser():
    """Chromium without any download of its own; missing, it is a failure with the apt line."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "headless Chromium is needed: apt-get install chromium"
    with sync_playwright() as playwright:
        engine = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield engine
        engine.close()


@pytest.fixture
def page(browser, live):
    _, access = live
    context = browser.new_context(
        ignore_https_errors=True,
        http_credentials={"username": "consumer1", "password": PASSWORD},
        locale="de-DE",
        viewport={"width": 1000, "height": 640},
    )
    page = context.new_page()
    page.base = f"https://{access.han.host}:{access.han.port}"
    yield page
    context.close()


def picture(page, name: str) -> None:
    """Keep a screenshot where a person can look at it."""
    folder = Path(tempfile.gettempdir()) / "smgw-pictures"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=str(folder / f"{name}.png"))


@pytest.mark.req("HAN-20")
@pytest.mark.req("HAN-22")
@pytest.mark.req("HAN-27")
def test_the_plain_address_shows_the_start_page(page):
    """Digest dialog answered, redirected to the own start page, rows as in figure 25."""
    page.goto(f"{page.base}/")
    assert page.url.endswith("/smgw/cust/consumer1.sm/start")
    heading = page.locator("h1").inner_text()
    assert heading.startswith("Statusinformationen vom SMGW – ETHE03")
    assert heading.endswith(" –")
    rows = page.locator("tr").all_inner_texts()
    labels = [row.split("\t")[0] for row in rows]
    assert labels == ["SMGW-ID", "Hersteller", "Firmware-Version", "Status", "Systemzeit"]
    assert page.locator("nav a").all_inner_texts() == ["Startseite", "SMGW-Selbsttest", "Abmelden"]
    active = page.locator("nav a[aria-current=page]")
    assert active.inner_text() == "Startseite"
    assert active.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(112, 139, 201)"
    assert active.evaluate("e => getComputedStyle(e).color") == "rgb(255, 255, 255)"
    picture(page, "start")


@pytest.mark.req("HAN-23")
@pytest.mark.req("HAN-24")
def test_self_test_by_keyboard_then_countdown(page, live):
    """Tab to the menu item, Enter starts the test; a second visit counts down."""
    _, access = live
    lab_post(access, "clock", {"advance_s": 700})
    page.goto(f"{page.base}/smgw/cust/consumer1.sm/start")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "SMGW-Selbsttest"
    page.keyboard.press("Enter")
    page.wait_for_url("**/selftest")
    assert "Der Selbsttest wurde gestartet!" in page.locator("main").inner_text()
    picture(page, "selftest-started")
    page.reload()
    assert "Der Selbsttest wird momentan ausgeführt!" in page.locator("main").inner_text()
    picture(page, "selftest-running")
    lab_post(access, "clock", {"advance_s": 4})
    page.reload()
    text = page.locator("main").inner_text()
    assert "kann erst in" in text and "Sekunden wieder gestartet werden!" in text
    first = int(page.locator("#wait").inner_text())
    assert 500 < first <= 597
    picture(page, "selftest-locked")
    expect(page.locator("#wait")).not_to_have_text(str(first))
    assert int(page.locator("#wait").inner_text()) < first


@pytest.mark.req("HAN-25")
def test_logging_out_really_ends_the_session(browser, live):
    """What the browser still remembers is refused after Abmelden: it has to log in anew."""
    _, access = live
    context = browser.new_context(
        ignore_https_errors=True,
        http_credentials={"username": "consumer1", "password": PASSWORD},
    )
    page = context.new_page()
    base = f"https://{access.han.host}:{access.han.port}"
    page.goto(f"{base}/")
    page.get_by_text("Abmelden").click()
    page.wait_for_url("**/logout")
    assert "Abmelden erfolgreich" in page.locator("main").inner_text()
    picture(page, "logout")
    page.goto(f"{base}/smgw/cust/consumer1.sm/start")
    with urllib.request.urlopen(f"{access.control.url}/logs/consumer?reader=consumer1") as answer:
        events = [entry["event"] for entry in json.load(answer)["entries"]]
    after = events[len(events) - 1 - events[::-1].index("EMU.30.3") :]
    assert after[:2] == ["EMU.30.3", "EMU.30.2"]  # logged out, then the old credentials refused
    context.close()


def test_the_page_works_without_javascript(browser, live):
    """Everything but the countdown needs no script."""
    _, access = live
    context = browser.new_context(
        ignore_https_errors=True,
        java_script_enabled=False,
        http_credentials={"username": "consumer1", "password": PASSWORD},
    )
    page = context.new_page()
    page.goto(f"https://{access.han.host}:{access.han.port}/")
    assert page.locator("table").count() == 1
    context.close()


@pytest.mark.req("HAN-12")
def test_a_client_certificate_logs_the_browser_in(browser, live):
    """The consumer's PKCS#12, no password asked."""
    _, access = live
    origin = f"https://{access.han.host}:{access.han.port}"
    pem = Path(access.han.p12).with_suffix(".browser.pem")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs12

    key, cert, _ = pkcs12.load_key_and_certificates(
        Path(access.han.p12).read_bytes(), access.han.p12_password.encode()
    )
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    crt = pem.with_suffix(".crt")
    crt.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    context = browser.new_context(
        ignore_https_errors=True,
        client_certificates=[{"origin": origin, "certPath": str(crt), "keyPath": str(pem)}],
    )
    page = context.new_page()
    page.goto(f"{origin}/")
    assert page.url.endswith("/smgw/cust/consumer1.sm/start")
    context.close()


def test_a_browser_without_credentials_sees_nothing(browser, live):
    """401 and an empty page."""
    _, access = live
    context = browser.new_context(ignore_https_errors=True)
    answer = context.request.get(f"https://{access.han.host}:{access.han.port}/")
    assert answer.status == 401
    assert answer.body() == b""
    context.close()
