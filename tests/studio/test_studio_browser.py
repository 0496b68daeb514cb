"""The page in a real browser: list, drive by keys, take over, rewind, label, save, compare; phone, dark, keyboard."""

import csv
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from burnish.data import read_dataset
from tests.studio.studios import serving

playwright = pytest.importorskip("playwright.sync_api")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 90
SHOTS = Path(os.environ.get("STUDIO_SCREENSHOTS", "build/studio-screenshots"))


@pytest.fixture(scope="module")
def browser():
    """Chromium as the system has it."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def page(browser, studio, request):
    """A page at the studio's link; when a test fails, what it showed is kept."""
    options = getattr(request, "param", {})
    context = browser.new_context(viewport={"width": 1200, "height": 900}, **options)
    context.set_default_timeout(1000 * SECONDS)
    shown = context.new_page()
    wrong = []
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("dialog", lambda dialog: wrong.append("a dialog: something ran that must not"))
    shown.goto(studio.link)
    shown.wait_for_selector("table.runs tbody tr")
    yield shown
    failed = getattr(request.node, "failed", False)
    if failed:
        SHOTS.mkdir(parents=True, exist_ok=True)
        shown.screenshot(path=SHOTS / f"{re.sub(r'[^a-z0-9]+', '-', request.node.name)}.png", full_page=True)
    context.close()
    assert wrong == [] or failed


def until(page, happened, what="it"):
    """Wait for something; the page's own rules forbid Playwright's way of doing it."""
    limit = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < limit, f"never happened: {what}"
        page.wait_for_timeout(50)


def row(page, name):
    return page.locator("table.runs tbody tr", has=page.locator("td.name", has_text=re.compile(rf"^{re.escape(name)}")))


def step(page):
    found = re.match(r"step (\d+)", page.locator("#step").inner_text())
    return int(found[1]) if found else -1


def drives(page, name="small"):
    """Go to the Drive page of a run, at the start of its first episode."""
    row(page, name).get_by_role("link", name="Drive").click()
    page.wait_for_selector("#stage canvas")
    page.get_by_role("button", name="Rewind").click()
    until(page, lambda: step(page) == 0, "step 0")
    page.get_by_role("button", name="Reset").click()
    until(page, lambda: page.locator("#step").inner_text() == "step 0", "a fresh episode")
    # A canvas has 300 pixels before anything is drawn on it.
    until(page, lambda: page.evaluate("document.querySelector('#stage canvas').width") != 300, "a picture")


def pixels(page):
    return page.evaluate("document.querySelector('#stage canvas').toDataURL()")


def test_list_filter_sort_and_compare(page):
    assert page.locator("table.runs tbody tr").count() == 5
    assert page.locator("img").count() == 0, "names are text"
    assert "<img src=x" in row(page, "<img").inner_text() and "NaN" in row(page, "<img").inner_text()
    page.get_by_role("button", name="Run", exact=True).click()
    names = page.locator("td.name").all_inner_texts()
    assert [name.split("\n")[0] for name in names] == sorted(name.split("\n")[0] for name in names)
    page.get_by_label("Filter runs").fill("smal")
    until(page, lambda: page.locator("table.runs tbody tr").count() == 1, "filtered")
    page.get_by_label("Choose small").check()
    page.get_by_label("Filter runs").fill("")
    page.get_by_label("Choose scripted").check()
    page.get_by_role("link", name="Compare 2 runs").click()
    page.wait_for_selector("h1:has-text('Side by side')")
    assert page.get_by_text("No setting differs").is_visible()
    assert "tensorboard --logdir_spec" in page.locator("pre").inner_text()


def test_drive_take_over_rewind_and_save(page, studio):
    drives(page)
    before = pixels(page)
    page.keyboard.down("ArrowUp")
    until(page, lambda: step(page) >= 3, "three steps")
    page.keyboard.up("ArrowUp")
    assert pixels(page) != before
    page.wait_for_timeout(300)
    rests = step(page)
    page.wait_for_timeout(300)
    assert step(page) == rests, "time stands still while no key is held"
    assert re.search(r"median \d+ ms", page.locator("#stats").inner_text())

    page.keyboard.press("p")  # the policy drives
    until(page, lambda: step(page) >= rests + 3, "the policy's steps")
    assert "refined" in page.locator("#stage h3").inner_text()
    page.keyboard.down("w")  # and is taken over from
    until(page, lambda: "you" in page.locator("#stage h3").inner_text(), "taken over")
    page.keyboard.up("w")
    until(page, lambda: page.get_by_role("button", name="Play", exact=True).count() == 1, "time stands still again")
    page.wait_for_timeout(300)
    here = step(page)
    page.keyboard.press(",")
    until(page, lambda: step(page) == here - 1, "one step back")
    page.keyboard.press("Home")
    until(page, lambda: step(page) == 0, "rewound")
    until(page, lambda: pixels(page) == before, "the first picture again")
    page.keyboard.press(".")
    until(page, lambda: step(page) == 1, "one step on")

    page.get_by_text("Save this drive").click()
    page.get_by_label("Name of the drive").fill("by-hand")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_selector(".command pre")
    folder = studio.out / "drives" / "by-hand"
    assert f"--drive '{folder}'" in page.locator(".command pre").inner_text()
    assert read_dataset(folder / "imagined").sources == ("imagined",)


def test_the_start_is_there_before_the_model(browser, small_run, tmp_path):
    with serving(tmp_path, str(small_run), loaded=False) as served:
        shown = browser.new_page()
        shown.set_default_timeout(1000 * SECONDS)
        # On a busy machine the model may be there before this test looks.
        shown.add_init_script("""window.seen = []; new MutationObserver(() => {
          const status = document.querySelector("#status");
          if (status && document.querySelector("#glimpse canvas")) window.seen.push(status.innerText);
        }).observe(document, { subtree: true, childList: true, characterData: true });""")
        shown.goto(served.link, wait_until="commit")
        shown.wait_for_selector("#stage canvas")
        assert "being loaded" in shown.evaluate("window.seen[0]")
        assert "token" not in shown.url and shown.url.split("#")[1].startswith("drive?run=")
        assert shown.locator("#glimpse").count() == 0 and "loaded" not in shown.locator("#status").inner_text()
        shown.close()


def test_drive_by_gamepad(page):
    """A standard gamepad as the browser would tell of it; the device itself is the only thing that is not there."""
    drives(page)
    before = pixels(page)
    page.evaluate("""() => {
      const buttons = Array(17).fill({ pressed: false, value: 0 });
      window.pad = { axes: [0, 0, 0, 0], buttons, connected: true, mapping: "standard", index: 0 };
      navigator.getGamepads = () => [null, window.pad];
      dispatchEvent(new Event("gamepadconnected"));
    }""")
    page.wait_for_timeout(300)
    assert step(page) == 0, "sticks at rest move nothing"
    page.evaluate("window.pad.axes = [0.1, -1, 0, 0.5]")  # the second stick axis up; the first one within the dead zone
    until(page, lambda: step(page) >= 2, "two steps")
    shown = page.locator("#actions .value").all_inner_texts()[:4]
    assert [float(each.replace("−", "-")) for each in shown] == [0, 1, 0, -0.5]
    assert pixels(page) != before
    page.evaluate("window.pad.axes = [0, 0, 0, 0]")
    page.wait_for_timeout(400)
    here = step(page)
    page.wait_for_timeout(300)
    assert step(page) == here, "time stands still again"
    press(page, 0)
    until(page, lambda: "refined" in page.locator("#stage h3").inner_text() and step(page) > here, "the policy drives")
    press(page, 1)
    until(page, lambda: page.get_by_role("button", name="Play", exact=True).count() == 1, "and stops")
    press(page, 8)
    until(page, lambda: step(page) == 0, "rewound")
    page.evaluate("navigator.getGamepads = () => [null, null]")


def press(page, button):
    """Press a button of the gamepad and let it go; either is seen by the next animation frame."""
    for pressed in ("true", "false"):
        page.evaluate(f"window.pad.buttons = window.pad.buttons.with({button}, {{ pressed: {pressed}, value: 0 }})")
        page.wait_for_timeout(150)


def test_two_policies_beside_the_simulator(page):
    drives(page)
    page.get_by_label("First lane").select_option("pretrained")
    page.get_by_label("Second lane").select_option("refined")
    page.get_by_label("the simulator beside it").check()
    page.get_by_role("button", name="Begin here").click()
    until(page, lambda: page.locator("#stage .pane").count() == 4, "four panes")
    page.get_by_role("button", name="Play", exact=True).click()
    until(page, lambda: step(page) >= 2, "two steps")
    page.get_by_role("button", name="Pause").click()
    titles = " ".join(page.locator("#stage h3").all_inner_texts())
    assert all(word in titles for word in ("Imagined · pretrained", "Simulator · pretrained", "Imagined · refined"))
    assert "gap to the simulator" in page.locator(".strip").inner_text()


def test_an_episode_where_refinement_differs(page):
    row(page, "small").get_by_role("link", name="Episodes").click()
    page.wait_for_selector(".cells button")
    assert page.locator(".cells button").count() == 12
    page.locator(".cells button").first.click()
    page.wait_for_selector("[aria-label='Frame']")
    assert page.locator(".panes .pane").count() == 4
    page.get_by_label("Frame", exact=True).press("End")
    last = page.get_by_label("Frame", exact=True).get_attribute("max")
    until(page, lambda: page.get_by_text(f"frame {last} of {last}").count() == 1, "the last frame")


def test_label_by_keyboard_alone(page, studio):
    row(page, "small").get_by_role("link", name="Data").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".plots canvas")
    for key in ("ArrowRight", "ArrowRight", "y", "j"):
        page.keyboard.press(key)
    until(page, lambda: "Episode 1:" in page.locator("h2").first.inner_text(), "the next episode")
    page.keyboard.press("n")
    until(page, lambda: page.locator("#counted").inner_text().startswith("2 of"), "two labels")
    page.get_by_role("button", name="Begin with the recorded ones").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Name of the labels").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("mine")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".command pre")
    with open(studio.out / "labels" / "mine.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1][:2] == ["0", "1"] and rows[2][:2] == ["1", "0"]
    assert f"--labels {studio.out / 'labels' / 'mine.csv'}" in page.locator(".command pre").inner_text()


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}], indirect=True, ids=["dark"])
def test_dark_and_narrow(page):
    page.set_viewport_size({"width": 390, "height": 844})
    drives(page)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground))) < 60, "dark"
    for target in ("#runs", "#drive", "#episodes", "#data"):
        page.evaluate(f"location.hash = '{target}'")
        page.wait_for_timeout(700)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{target}: {width} pixels wide on a phone of 390"


def test_the_page_of_a_hostile_report_runs_nothing(page, studio):
    link = row(page, "scripted").get_by_role("link", name="Report").get_attribute("href")
    asked = []
    other = page.context.new_page()
    other.on("request", lambda request: asked.append(request.url))
    other.goto(f"http://{studio.host}{link}")
    other.wait_for_timeout(500)
    assert [url for url in asked if "/api/" in url] == []
