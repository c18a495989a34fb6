"""Pages of text, tables, charts and pictures, as a browser reads them."""

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np

from tagwise.plot import page as pages


class Reader(HTMLParser):
    """Collects the text of each element, and checks that elements are closed in order."""

    VOID = ("meta", "img", "br", "path", "use", "stop", "rect", "circle", "line", "image")

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.addresses = [], [], []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.addresses += [v for name, v in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style",):
            self.texts.append((self.open[-1], data))


def read(text):
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    return reader


def test_text_is_escaped_and_markup_is_not():
    parts = [pages.section("a < b", "1 & 2", pages.cards([("<3", "x > y")]))]
    reader = read(pages.page("<script>", parts, subtitle="\udcff"))
    assert ("h1", "<script>") in reader.texts
    assert ("h2", "a < b") in reader.texts
    assert ("p", "1 & 2") in reader.texts
    assert ("b", "<3") in reader.texts
    assert pages.page("", parts, subtitle="\udcff").encode()  # lone surrogates of file names


def test_tables_have_a_cell_per_value():
    reader = read(pages.table(["name", "AP", ""], [["bee", "51", pages.bar(0.5)], ["<i>", 2, ""]]))
    assert [t for tag, t in reader.texts if tag == "th"] == ["name", "AP"]
    assert [t for tag, t in reader.texts if tag == "td"] == ["bee", "51", "<i>", "2"]


def test_bars_are_clipped():
    widths = [re.search(r"width:([\d.]+)%", pages.bar(x)).group(1) for x in (-1, 0.25, 7)]
    assert widths == ["0.0", "25.0", "100.0"]


def test_pictures_survive_the_page():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = (250, 40, 10)
    reader = read(pages.page("", [pages.section("", pages.photo(image, "half red"))]))
    [address] = reader.addresses
    data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
    back = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(back.astype(int) - image)[:, [2, -2]].max() < 25


def test_charts_take_the_colours_of_the_page_and_need_no_network():
    def drawn():
        figure, axes = pages.chart()
        axes.plot([0, 1], [0, 1], color=pages.chart_colour(0), label="pull")
        axes.set_xlabel("step <1>")
        axes.legend()
        return pages.figure_svg(figure, "curve of a & b")

    text = pages.page("", [pages.section("", drawn())])
    reader = read(text)
    assert ("text", "step <1>") in reader.texts
    assert "#000000" not in text
    assert "var(--ink)" in text.partition("</style>")[2]
    assert "stroke: var(--line)" in text.partition("</style>")[2]  # the grid
    assert all(address.startswith("#") for address in reader.addresses)
    assert drawn() == drawn()
