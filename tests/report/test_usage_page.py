import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from vqcli.metrics.usage.counts import UsageCounts
from vqcli.metrics.usage.diagnosis import diagnose
from vqcli.metrics.usage.facts import Counted, Diagnosis, Facts
from vqcli.metrics.usage.geometry import measure_geometry
from vqcli.metrics.usage.latents import measure_latents
from vqcli.report import svg
from vqcli.report import usage as page
from vqcli.report.usage import terminal_histogram, usage_map, usage_page

NASTY = """<script>alert("x")</script>&'\u202e.png"""


def counts_of(size, tokens, entries=1):
    counts = UsageCounts(size, entries)
    ids = np.random.default_rng(0).integers(0, size, (4, tokens)) * 2 // 3
    counts.add(ids, ((1, tokens // entries),) * entries)
    return counts


def drawn(counts, **options):
    named = {"title": "Usage", "protocol": "photos"} | options
    return usage_page(counts.report(), counts.counts_k, **named)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.names, self.attributes, self.open = set(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in {"meta", "br", "path", "rect"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_loads_nothing_and_is_well_formed():
    text = drawn(counts_of(100, 60), geometry=measure_geometry(np.eye(4, dtype=np.float32)))
    tags = Tags(text)
    assert tags.open == []
    assert not tags.names & {"script", "link", "img", "iframe", "object", "a", "image", "use"}
    assert not tags.attributes & {"src", "href", "onload", "onclick"}
    assert "url(" not in text
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in text
    for picture in re.findall(r"<svg.*?</svg>", text, re.S):
        ElementTree.fromstring(picture)
    assert len(re.findall("<svg", text)) == 3


def test_latents_are_told_as_they_are_compared():
    counts = counts_of(8, 60)
    z_nd, codes_kd = np.eye(8, dtype=np.float32), np.eye(8, dtype=np.float32)[::-1]
    for metric in ("l2", "dot"):
        at = measure_latents(z_nd, codes_kd, counts.counts_k, metric)
        text = drawn(counts, diagnosis=Diagnosis(latents=at))
        assert "Latents against codes" in text
        assert ("dot product: lengths count too" in text) == (metric == "dot")
    assert "<td>not measured</td><td>it rolls &lt;dice&gt;</td>" in drawn(
        counts, diagnosis=Diagnosis(no_latents="it rolls <dice>")
    )
    assert "Latents" not in drawn(counts, diagnosis=Diagnosis())


def test_names_are_escaped():
    text = drawn(counts_of(100, 60), title=NASTY, protocol=NASTY)
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#x27;") == 3


def test_numbers_are_those_of_the_report():
    counts = counts_of(1000, 60, entries=2)
    report = counts.report()
    text = drawn(counts, diagnosis=diagnose(Facts(Counted.of(report))))
    assert f'<p class="value">{report.utilization:.2%}</p>' in text
    assert f"<td>{report.dead:,}</td>" in text
    assert "By scale or depth" in text
    assert "Geometry of the codes" not in text
    assert "240 tokens of 4 images of photos" in text
    assert "count at least 77 images (4,603 tokens)" in text  # 1 - (1 - 1/1000)^4603 is the first above 99%


@pytest.mark.parametrize("size", [1, 2, 10])
def test_small_and_unused_codebooks_can_be_drawn(size):
    for counts in (UsageCounts(size), counts_of(size, 4)):
        Tags(drawn(counts))
        terminal_histogram(counts.report())


def test_missing_codes_are_never_rounded_away():
    counts = UsageCounts(100_000)
    counts.add(np.arange(99_999).reshape(1, -1))
    assert '<p class="value">99.99%</p>' in drawn(counts)


def test_map_levels():
    counts_k = np.array([0, 1, 100, 200, 400, 99, 0, 0, 3200, 0])
    levels, share = usage_map(counts_k)  # the even share is 400
    assert share == 1
    assert levels.tolist() == [[0, 1, 2, 3], [4, 2, 0, 0], [7, 0, -1, -1]]


def test_map_of_a_large_codebook_averages(monkeypatch):
    monkeypatch.setattr(page, "MOST_CELLS", 2)
    counts_k = np.zeros(9, int)
    counts_k[[0, 8]] = 8, 1
    levels, share = usage_map(counts_k)
    assert share == 2
    # Cells of 2 x 2 codes, cut at the border: means 2, 0, 0, 1 over an even share of 1.
    assert levels.tolist() == [[5, 0], [0, 4]]


def test_heat_map_merges_neighbours():
    text = svg.heat_map(np.array([[1, 1, 0], [-1, 2, 2]]), "map")
    assert re.findall(r'class="h(\d)" d="([^"]*)"', text) == [
        ("0", "M2 0h1v1h-1z"),
        ("1", "M0 0h2v1h-2z"),
        ("2", "M1 1h2v1h-2z"),
    ]


def test_scales():
    assert svg.Scale(0, 10, 100, 200)(5) == 150
    assert svg.Scale(1, 100, 0, 100, log=True)(10) == pytest.approx(50)
    assert svg.Scale(1, 16384, 0, 1, log=True).ticks() == [1, 10, 100, 1000, 10000]
    assert svg.Scale(0, 47, 0, 1).ticks() == [0, 10, 20, 30, 40]
    assert [svg.compact(n) for n in (0, 950, 1500, 2e7)] == ["0", "950", "1.5k", "20M"]


def test_terminal_histogram_is_to_scale_and_fits():
    counts = UsageCounts(8)
    counts.add(np.array([[0, 1, 2, 3, 4, 5, 5]]))
    lines = terminal_histogram(counts.report(), 40).splitlines()
    assert [line.split()[0] for line in lines] == ["used", "never", "1", "2–3"]
    bars = [line.count("█") for line in lines[1:]]
    assert bars[1] == pytest.approx(5 / 2 * bars[0], abs=2.5)
    assert max(map(len, lines)) <= 40
