import base64
import re
from html.parser import HTMLParser

import pytest

from burnish.errors import InputError
from burnish.report import sections
from burnish.report.html import render_html, write_html
from burnish.report.summary import build_report

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


WITHOUT_PLOTS = dict.fromkeys(("refinement", "training", "calibration", "prediction", "disagreement", "uncertainty"))
VIDEO = {"title": "Before and after", "caption": "Start 7.", "mp4": b"not really a video", "path": "videos/7.mp4"}


@pytest.fixture(scope="module")
def full(inputs):
    return render_html(inputs(videos=[VIDEO]))


def test_first_words_are_the_verdict(full):
    page = Page(full)
    assert page.tags[page.tags.index("main") + 1] == "h1"
    assert page.words("h1").startswith("Refinement in imagination raised drawer-open-v3 from 48 % to 95 % (+47 points")
    assert page.words("main").startswith(page.words("h1"))


def test_nothing_comes_from_elsewhere(full):
    page = Page(full)
    for tag, name, value in page.attributes:
        if name in {"src", "href", "xlink:href", "poster", "srcset", "data", "action"}:
            assert value.startswith(("data:", "#")), (tag, name, value[:80])
        assert not name.startswith("on")
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "@import" not in full
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", full))
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<>]+", full)) <= namespaces
    assert "default-src 'none'" in full


def test_every_section_and_every_picture_has_words(full):
    page = Page(full)
    assert page.tags.count("h2") == 10
    labels = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    assert len(labels) == page.tags.count("svg") == 2 + 6 + 2 + 4 + 4
    assert all(len(label) > 20 for label in labels)
    assert len(page.ids) == len(set(page.ids))
    for words in ("33 001", "2 min 0 s", "anchor: 0.05", "2.13.0", "number 36", "were not tried"):
        assert words in page.words(), words
    assert "prefers-color-scheme: dark" in full and 'name="viewport"' in full


def test_videos_are_embedded_up_to_the_limit(inputs, monkeypatch):
    first, second = (VIDEO | {"mp4": bytes([k]) * 300, "path": f"videos/{k}.mp4"} for k in (1, 2))
    monkeypatch.setattr(sections, "MAX_VIDEO_BYTES", 500)
    page = Page(render_html(inputs(videos=[first, second], **WITHOUT_PLOTS)))
    sources = [value for tag, name, value in page.attributes if tag == "video" and name == "src"]
    assert len(sources) == 1
    assert base64.b64decode(sources[0].removeprefix("data:video/mp4;base64,")) == first["mp4"]
    assert "It lies in videos/2.mp4." in page.words()


def test_whatever_comes_from_outside_is_escaped(inputs, summary):
    report = build_report(
        summary(
            task=HOSTILE,
            recipe=HOSTILE,
            device=HOSTILE,
            versions={"burnish": HOSTILE, "torch": HOSTILE, "python": HOSTILE, HOSTILE: HOSTILE},
            seconds={HOSTILE: 1.0},
        )
    )
    sample = inputs(
        report,
        configuration=f"task: {HOSTILE}</pre>",
        data=[{"source": HOSTILE, "episodes": 1, "successes": 1, "frames": 9}],
        training={HOSTILE: [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]},
        videos=[VIDEO | {"title": f'"{HOSTILE}', "caption": f'"{HOSTILE}'}],
        untested=[HOSTILE],
        prediction=inputs().prediction | {"unit": f"$\\frac {HOSTILE}"},
    )
    text = render_html(sample)
    page = Page(text)
    assert "script" not in page.tags and "<script" not in text
    assert HOSTILE in page.words("h1") and HOSTILE in page.words("pre") and HOSTILE in page.words("table")


def test_missing_sections_say_why(inputs, summary):
    skipped = {"evaluation": "the data set names no simulator"}
    report = build_report(summary(pretrained=None, refined=None, paired=None, skipped=skipped))
    absent = (
        "data",
        "refinement",
        "training",
        "calibration",
        "prediction",
        "disagreement",
        "gate",
        "videos",
        "configuration",
    )
    reasons = {name: f"No {name} because of reason {k}." for k, name in enumerate(absent)}
    nothing = dict.fromkeys((*absent, "uncertainty"))
    page = Page(render_html(inputs(report, missing=reasons, chosen_iteration=None, **nothing)))
    for reason in reasons.values():
        assert reason in page.words()
    assert "svg" not in page.tags and "video" not in page.tags
    assert "Evaluation in a simulator was skipped: the data set names no simulator." in page.words()
    assert "every success rate on this page is imagined" in page.words()
    assert "were run for" not in page.words()
    assert "no trust gate vouches for it" in page.words()


def test_disagreement_without_its_calibration(inputs):
    """Runs from before there was one still render, and those that had too few episodes say so."""
    old = Page(render_html(inputs(uncertainty=None)))
    assert old.tags.count("svg") == 2 + 6 + 2 + 2 + 4
    assert "Whether disagreement is calibrated was not measured." in old.words()
    few = Page(render_html(inputs(uncertainty=None, missing={"uncertainty": "There were 3 episodes."})))
    assert "There were 3 episodes." in few.words() and "Whether disagreement" not in few.words()
    no_ensemble = Page(render_html(inputs(uncertainty=None, disagreement=None)))
    assert "Whether disagreement" not in no_ensemble.words(), "one reason is enough"


def test_flat_disagreement_is_warned_of(inputs, full):
    assert "strong" not in Page(full).tags
    flat = inputs().uncertainty | {"warning": "Its members agree where they are wrong."}
    page = Page(render_html(inputs(uncertainty=flat)))
    assert page.words("strong") == "Its members agree where they are wrong."


def test_a_rejected_refinement_is_said_twice_and_marks_no_iterate(inputs, summary):
    page = Page(render_html(inputs(build_report(summary(accepted=False)), chosen_iteration=None, training=None)))
    assert "rejected" in page.words("h1")
    assert "“Refined” is the pretrained policy here" in page.words() and "No iterate was accepted." in page.words()
    assert "chosen iterate" not in page.words("svg")


def test_why_refinement_stopped_is_said_where_it_is_known(inputs):
    fewer = {name: None for name in WITHOUT_PLOTS if name != "refinement"}
    rows = [{"iteration": 0, "imagined_steps": 0, "eval/success": 0.4}]
    for stopped in ("no better iterate for 4 judgements", None):
        page = Page(render_html(inputs(refinement=rows, refinement_stopped=stopped, **fewer)))
        assert (f"Refinement stopped: {stopped}." in page.words()) == (stopped is not None)
        assert ("Refinement stopped" in page.words()) == (stopped is not None)


def test_a_broken_report_is_refused(inputs):
    with pytest.raises(InputError, match="accepted"):
        render_html(inputs({**inputs().report, "accepted": "yes"}))


def test_writing_replaces_in_one_step(inputs, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_html(inputs(**WITHOUT_PLOTS), path)
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
