"""The page: verdict first, every section with an anchor, nothing from elsewhere, whatever is in it escaped."""

import base64
import re
from html.parser import HTMLParser

import pytest

from burnish.errors import InputError
from burnish.report import html
from burnish.report.html import render_html
from burnish.report.section import Axis, Mark, Plot, Section, Series, Table, Video
from burnish.report.sections_policies import outcome_section
from burnish.report.sections_run import untested_section, work_section
from tests.report.conftest import RUN, VERSIONS
from tests.report.test_verdict import NO_SIMULATOR, returns

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every element is closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.stack, self.text, self.ids = [], [], [], {}, []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        for tag in self.stack:
            self.text[tag] = self.text.get(tag, "") + data

    def words(self, tag="body"):
        return " ".join(self.text.get(tag, "").replace("\u00a0", " ").split())

    def values(self, tag, name):
        return [value for at, key, value in self.attributes if (at, key) == (tag, name)]


def everything(text="words"):
    """A section with something of everything, all of whose words are `text`."""
    series = Series(text, (0.0, 1.0), (1.0, 2.0), text=(text, text))
    kinds = ("line", "scatter", "bars", "interval", "heat")
    plots = tuple(
        Plot(kind, text, (series, series), Axis(text), Axis(text), text, (Mark(1.0, text),), (text, text))
        for kind in kinds
    )
    long = Table((text, text), ((text, text),) * 9, text)
    tables = (
        Table((text, text, text), ((text, text, text),), text, 3, text),
        Table((text, text), ((text, text),)),
        long,
    )
    video = Video("a.mp4", text, text, "a.jpg")
    return Section("all", text, 60, (text,), (text,), plots, tables, (video,), (text,))


FILES = {"a.mp4": b"a video", "a.jpg": b"a still"}


@pytest.fixture(scope="module")
def full(report, gate):
    found = report(gate=gate())
    return render_html(found, [outcome_section(found), work_section(found), everything()], "anchor: 0.05", FILES)


def test_first_words_are_the_verdict(full):
    page = Page(full)
    assert page.tags[page.tags.index("main") + 1] == "h1"
    assert page.words("h1") == "48 % → 95 % · accepted"
    assert page.words("main").startswith("48 % → 95 % · accepted Refinement in imagination raised drawer-open-v3")
    assert "burnish studio ." in page.words("main")


def test_nothing_comes_from_elsewhere(full):
    page = Page(full)
    for tag, name, value in page.attributes:
        if name in {"src", "href", "xlink:href", "poster", "srcset", "data", "action"}:
            assert value.startswith(("data:", "#")) or value == "report.json", (tag, name, value[:80])
        assert not name.startswith("on")
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "@import" not in full
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", full))
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<>]+", full)) <= namespaces
    assert "default-src 'none'" in full


def test_the_contents_lead_to_every_section_and_every_picture_has_words(full):
    page = Page(full)
    anchors = [value for value in page.values("a", "href") if value.startswith("#")]
    assert anchors == ["#outcome", "#work", "#all", "#configuration"] and {one[1:] for one in anchors} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert len(page.values("svg", "aria-label")) == page.tags.count("svg") == 2 + 5
    for words in (
        "33 001 | 0",
        "3 min 44 s",
        "anchor: 0.05",
        "2.13.0",
        "after 100 decisions of 2 control steps",
    ):
        assert words in page.words(), words
    assert "prefers-color-scheme: dark" in full and 'name="viewport"' in full
    assert page.tags.count("details") == 3, "long tables are folded, as configuration and versions are"


def test_videos_have_stills_and_are_embedded_up_to_the_limit(report, monkeypatch):
    monkeypatch.setattr(html, "MAX_VIDEO_BYTES", 500)
    files = {"videos/1.mp4": b"1" * 300, "videos/2.mp4": b"2" * 300, "videos/1.jpg": b"still"}
    videos = (Video("videos/1.mp4", "One", "", "videos/1.jpg"), Video("videos/2.mp4", "Two"), Video("none.mp4", "None"))
    page = Page(render_html(report(), [Section("videos", "Videos", videos=videos)], "", files))
    (source,), (still,) = page.values("video", "src"), page.values("video", "poster")
    assert base64.b64decode(source.removeprefix("data:video/mp4;base64,")) == files["videos/1.mp4"]
    assert base64.b64decode(still.removeprefix("data:image/jpeg;base64,")) == b"still"
    assert "It lies in videos/2.mp4." in page.words() and "videos/2.mp4" in page.values("a", "href")
    assert "This video is missing." in page.words()


def test_whatever_comes_from_outside_is_escaped(report, gate):
    hostile = gate() | {"checks": [{"name": HOSTILE, "passed": True, "sentence": HOSTILE}], "warning": HOSTILE}
    run = RUN | {"task": HOSTILE, "recipe": HOSTILE}
    found = report(gate=hostile, run=run, device=HOSTILE) | {"versions": VERSIONS | {HOSTILE: HOSTILE}}
    parts = [outcome_section(found), work_section(found), everything(f'"{HOSTILE}'), untested_section(found)]
    text = render_html(found, parts, f"task: {HOSTILE}</pre>", FILES)
    page = Page(text)
    assert "script" not in page.tags and "<script" not in text
    for tag in ("p", "pre", "table", "figcaption", "strong", "nav"):
        assert HOSTILE in page.words(tag), tag
    assert all(not name.startswith("on") for _, name, _ in page.attributes)


def test_a_run_without_a_simulator_says_so(report):
    found = report(None, skipped=NO_SIMULATOR)
    page = Page(render_html(found, [outcome_section(found), untested_section(found)]))
    assert "Evaluation in a simulator was skipped: no simulator was used." in page.words()
    assert "every number about the refined one on this page is imagined by models" in page.words()
    assert "no trust gate vouches for it" in page.words() and "svg" not in page.tags
    assert "pretrained (imagined success)41 %" in page.words("dl")


def test_a_run_measured_by_return(report):
    found = report(returns((-10.0, -12.0, -11.0), (-5.0, -8.0, -6.0)), imagined={})
    page = Page(render_html(found, [outcome_section(found), untested_section(found)]))
    assert page.words("h1") == "−11 → −6.33 · no gate"
    assert "refined (return)−6.33" in page.words("dl") and "run for 3 episodes" in page.words()
    assert page.values("svg", "aria-label")[0] == "Return, mean return of an episode: pretrained −11; refined −6.33."


def test_a_broken_report_is_refused(report):
    with pytest.raises(InputError, match="accepted"):
        render_html(report() | {"accepted": "yes"}, [])
