"""The page in headless Chromium: upload, sliders, hover, why, errors, a phone's width."""

import json

import numpy as np
import pytest
import yaml

from serving_pages import chromium, running_server, until
from tagwise.data.images import read_image
from tagwise.skeletons import Skeleton
from tagwise.tasks import create_task


@pytest.fixture(scope="module")
def address():
    with running_server("--weights", "people") as (_, address):
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def make_page(browser, address):
    """A function that opens a page and fails the test for errors of its scripts."""
    contexts, errors = [], []

    def make(where="", width=1280, height=900, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address + where)
        page.wait_for_selector("#model:enabled")
        return page

    yield make
    for context in contexts:
        context.close()
    assert not errors


EXAMPLE = "#photo=example"


def opened(make_page, where=EXAMPLE, **options):
    page = make_page(where, **options)
    page.wait_for_selector("#reset:enabled")
    until(page, "document.querySelector('#readout').textContent.includes('from')")
    return page


def rows(page):
    return page.locator("#found tbody tr").count()


def set_slider(page, name, value):
    page.evaluate(
        """([id, value]) => {
            const input = document.getElementById(id);
            input.value = value;
            input.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        [f"knob-{name}", str(value)],
    )


def test_an_uploaded_photo_is_shown_with_its_instances(make_page, photo):
    page = make_page()
    assert page.locator("#empty").is_visible()
    file = {"name": "b.jpg", "mimeType": "image/jpeg", "buffer": photo}
    page.locator("#file").set_input_files(files=[file])
    page.wait_for_selector("#found tbody tr")
    assert not page.locator("#empty").is_visible()
    assert (
        "with 1 instances" in page.locator("#photo").get_attribute("aria-label") or rows(page) > 1
    )
    drawn = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)"
    assert page.locator("#photo").evaluate(drawn)
    assert page.locator("#plot").evaluate(drawn)


def test_sliders_regroup_at_once_and_fill_the_link(make_page):
    page = opened(make_page)
    before = rows(page)
    set_slider(page, "max_instances", 2)
    until(page, "document.querySelectorAll('#found tbody tr').length === 2")
    assert before > 2
    assert "max_instances=2" in page.evaluate("location.hash")
    took = []
    for value in np.linspace(0.5, 3.5, 12):
        page.evaluate("document.getElementById('latency').dataset.ms = ''")
        set_slider(page, "tag_threshold", value)
        until(page, "document.getElementById('latency').dataset.ms !== ''")
        took.append(float(page.locator("#latency").get_attribute("data-ms")))
    assert len(took) == 12
    assert min(took) > 0  # docs/serve.md states how long they take on a quiet machine
    again = opened(make_page, page.evaluate("location.hash"))  # the link restores the settings
    until(again, "document.querySelectorAll('#found tbody tr').length === 2")
    page.locator("#reset").click()
    until(page, f"document.querySelectorAll('#found tbody tr').length === {before}")
    assert "max_instances" not in page.evaluate("location.hash")


def test_pointing_at_a_detection_shows_it_in_both_pictures(make_page):
    page = opened(make_page)
    spot = page.evaluate("import('/static/plot.js').then(m => m.places[20])")
    plot, photo = page.locator("#plot"), page.locator("#photo")
    shot = "c => c.toDataURL()"
    before = photo.evaluate(shot)
    plot.hover(position={"x": spot[0], "y": spot[1]})
    until(page, "document.querySelector('#readout').textContent.includes('tag')")
    page.wait_for_timeout(50)
    assert photo.evaluate(shot) != before


def test_two_detections_are_explained_with_the_keyboard(make_page):
    page = opened(make_page)
    page.locator("#photo").focus()
    for key in ("ArrowRight", "Enter", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#why .verdict.yes")
    assert "tag distance" in page.locator("#why").inner_text()
    for key in ("Escape", "ArrowLeft", "Enter", *["ArrowRight"] * 25, "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#why .verdict.no")
    page.keyboard.press("Escape")
    until(page, "document.querySelector('#why').textContent.includes('Choose two')")


def test_layers_and_other_tasks(make_page):
    page = opened(make_page, f"{EXAMPLE}&layer=heatmaps:3")
    assert page.locator("#channel").input_value() == "3"
    page.locator("#model").select_option("nuclei")
    page.wait_for_selector("#knob-bandwidth")
    assert not page.locator("#axes").is_visible()
    page.locator("#model").select_option("blood")
    page.wait_for_selector("#knob-corner_threshold")
    page.locator("#layer").select_option("br_tag")
    until(page, "location.hash.includes('layer=br_tag')")


def test_errors_and_empty_pictures_are_explained(make_page, address):
    page = make_page()
    bad = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no photo"}
    page.locator("#file").set_input_files(files=[bad])
    page.wait_for_selector("#notice:visible")
    assert "known formats" in page.locator("#notice").inner_text()
    film = {"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"no film"}
    page.locator("#clip").set_input_files(files=[film])
    until(page, "document.querySelector('#notice').textContent.includes('no frame')")
    page = opened(make_page)
    set_slider(page, "threshold", 1)
    until(page, "document.querySelector('#found').textContent.includes('Nothing was')")
    assert "No instance" in page.locator("#readout").inner_text()


def test_a_frame_of_a_video_is_a_photo(make_page, photo, tmp_path):
    av = pytest.importorskip("av", reason="needs tagwise[video]")
    clip, image = tmp_path / "clip.webm", read_image(photo)
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    page = make_page()
    page.locator("#clip").set_input_files(clip)
    page.wait_for_selector("#frames[open]")
    page.locator("#take").click()
    page.wait_for_selector("#found tbody tr")
    assert "clip-0.00s.jpg" in page.locator("#photo").get_attribute("aria-label")


def test_a_page_without_javascript_says_so(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert "needs JavaScript" in page.locator("noscript").inner_text()
    context.close()


def test_the_recipe_and_the_json_can_be_read(make_page):
    page = opened(make_page)
    set_slider(page, "tag_threshold", 1.5)
    set_slider(page, "threshold", 0.3)
    until(page, "location.hash.includes('threshold=0.3')")
    page.locator("#recipe").click()
    snippet = yaml.safe_load(page.locator("#snippet-text").inner_text())
    skeleton = Skeleton("pin", ("top", "foot")).to_dict()
    task = create_task(snippet["task"], skeleton=skeleton, **snippet["task_options"])
    assert task.grouping.tag_threshold == 1.5
    assert snippet["decoder"] == {"threshold": 0.3}
    with page.expect_download() as download:
        page.locator("#json").click()
    record = json.loads(download.value.path().read_text())
    assert record["task"] == "pose"
    with page.expect_download() as download:
        page.locator("#png").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(make_page, scheme):
    options = {"width": 360, "height": 740, "has_touch": True, "color_scheme": scheme}
    page = opened(make_page, **options)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = page.locator("#model").bounding_box()
    assert box["width"] > 200
    names = page.evaluate(
        """[...document.querySelectorAll('button, input, select, canvas')]
            .filter(e => e.checkVisibility() && !(e.ariaLabel || e.textContent.trim()
                || e.labels?.length || e.getAttribute('aria-label')))
            .map(e => e.id)"""
    )
    assert names == []  # every control has a name for screen readers
    dark = page.evaluate("document.documentElement.hasAttribute('data-dark')")
    assert dark == (scheme == "dark")


def test_the_page_loads_nothing_from_elsewhere(make_page, address):
    page = make_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}?again{EXAMPLE}")
    page.wait_for_selector("#reset:enabled")
    assert asked
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
