"""The report in a real browser: Debian's Chromium, without a window and without a network.

Screenshots of every page tested stay in build/screenshots.
"""

import shutil
from pathlib import Path

import pytest

from e2e_jax import report
from e2e_jax.display import page as display_page
from e2e_jax.studies import hgg
from tests.report.evaluated_run import write_run
from tests.report.test_events import serve
from tests.synthetic import sample

api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
]

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True},
}
DRAWN = "selector => [...document.querySelectorAll(selector)].every(node => node.dataset.drawn)"
FIGURES = """() => [...document.querySelectorAll('figure')].map(figure => {
  const box = (node) => node ? node.getBoundingClientRect() : {width: 0, height: 0};
  const image = figure.querySelector('picture:not([hidden]) img');
  const live = figure.querySelector('.live:not([hidden])');
  return {
    id: figure.id,
    image: image ? [image.complete, image.naturalWidth, box(image).width, box(image).height] : null,
    live: live ? [box(live.querySelector('.main-svg')).width, box(live.querySelector('.main-svg')).height,
                  live.querySelectorAll('.scatterlayer path.js-line, .barlayer .point path').length] : null,
  };
})"""

PLACE = """figure => {
  const plot = document.querySelector(`#${figure} .live`), {xaxis, yaxis} = plot._fullLayout;
  const drawn = plot.calcdata.filter((_, k) => plot._fullData[k].hoverinfo !== "skip");
  const bar = drawn.flat().find((one) => one.s > 0), curve = drawn[0];
  const middle = bar ? {x: bar.p, y: bar.b + bar.s / 2} : curve[Math.floor(curve.length / 2)];
  const box = plot.getBoundingClientRect();
  return [box.x + xaxis._offset + xaxis.l2p(middle.x), box.y + yaxis._offset + yaxis.l2p(middle.y)];
}"""
"""A point in the middle of a curve, or of a tower, on the screen."""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    shown = write_run(folder / "a")
    write_run(folder / "b", "four_momentum", seed=1)
    with pytest.MonkeyPatch.context() as patch:
        serve(patch, shown)
        return report.write_report(folder / "a", [folder / "b"])


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        # Without its sandbox Chromium also starts as root, as in a container.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, page_file, request):
    """The page on a screen in a colour scheme, and what went wrong or out while it was opened."""
    screen, scheme = request.param
    context = browser.new_context(
        **SCREENS[screen], color_scheme=scheme, reduced_motion="reduce", offline=True
    )
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on(
        "request",
        lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or complaints.append(asked.url),
    )
    page.goto(page_file.as_uri())
    page.wait_for_function(DRAWN, arg="figure > .live")
    page.evaluate("document.querySelectorAll('details.explore').forEach(fold => fold.open = true)")
    page.wait_for_function(DRAWN, arg=".live")
    yield page, complaints, f"{screen}-{scheme}"
    context.close()


SCREENS_AND_SCHEMES = [("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark")]


@pytest.mark.slow
@pytest.mark.parametrize("opened", SCREENS_AND_SCHEMES, indirect=True, ids="-".join)
def test_every_figure_is_drawn_within_the_screen_and_nothing_is_asked_of_a_network(opened, page_file):
    page, complaints, name = opened
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"report-{name}.png", full_page=True)
    assert complaints == []
    width = page.viewport_size["width"]
    figures = page.evaluate(FIGURES)
    assert {figure["id"] for figure in figures} == {
        path.stem for path in (page_file.parent / "figures").glob("*.png")
    }
    for figure in figures:
        assert figure["image"] or figure["live"], figure
        if figure["image"]:
            complete, pixels, shown_width, shown_height = figure["image"]
            assert complete, figure
            assert pixels > 0, figure
            assert 250 < shown_width <= width, figure
            assert shown_height > 150, figure
        if figure["live"]:
            shown_width, shown_height, marks = figure["live"]
            assert 250 < shown_width <= width, figure
            assert shown_height > 150, figure
            assert marks > 0, figure
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    brightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(brightness) < 60) == name.endswith("dark")


@pytest.mark.slow
@pytest.mark.parametrize("opened", [("desktop", "light")], indirect=True, ids="-".join)
def test_the_pointer_tells_what_is_below_it(opened):
    page, complaints, _ = opened
    for figure, words in (("roc_h_vs_rest", "efficiency 0."), ("event_most_h_like", "GeVη ")):
        page.locator(f"#{figure} .live").scroll_into_view_if_needed()
        page.mouse.move(*page.evaluate(PLACE, figure))
        page.wait_for_function(
            "([id, words]) => document.querySelector(`#${id} .hoverlayer`).textContent.includes(words)",
            arg=[figure, words],
        )
    assert complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("opened", [("phone", "light")], indirect=True, ids="-".join)
def test_interactive_figures_follow_the_colours_of_the_page(opened):
    page, _, _ = opened
    ink = "getComputedStyle(document.querySelector('#roc_h_vs_rest .live .xtick text')).fill"
    light = page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{ink} !== '{light}'")
    assert min(int(part) for part in page.evaluate(ink)[4:-1].split(",")) > 180


@pytest.mark.slow
@pytest.mark.parametrize("screen", SCREENS)
def test_the_page_of_an_event_fits_the_screen_and_asks_nothing_of_a_network(browser, tmp_path, screen):
    (tmp_path / "event.html").write_text(display_page.page(sample(1), "fast simulation", hgg.TASK))
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(**SCREENS[screen], offline=True)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("request", lambda asked: asked.url.startswith("http") and complaints.append(asked.url))
    page.goto((tmp_path / "event.html").as_uri())
    page.wait_for_function("document.querySelectorAll('.barlayer .point path').length > 0")
    page.screenshot(path=SCREENSHOTS / f"event-{screen}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert complaints == []
    context.close()


@pytest.mark.slow
def test_without_scripts_the_static_figures_stand(browser, page_file):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("#roc_h_vs_rest picture img").is_visible()
    assert page.locator("#event_most_mistaken picture img").is_visible()
    context.close()
