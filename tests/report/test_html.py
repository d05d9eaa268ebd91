import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from PIL import Image

from divseg.errors import InputError
from divseg.io import read_labels, write_labels
from divseg.report import write_report
from divseg.report.scores import TITLES
from divseg.results.open_run import open_run
from divseg.results.queues import least_certain

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Parses strictly: every element must be closed in order."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.open, self.images, self.links, self.ids, self.words, self.tags = [], [], [], [], [], set()
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attrs)
        self.links += [attrs[key] for key in ("href", "src", "srcset", "action") if key in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        assert not any(key.startswith("on") for key in attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


SECTIONS = [
    *("findings", "scores", "images", "objects", "review", "segmenter", "training", "problems", "settings", "cite")
]


@pytest.fixture(scope="module")
def page(real_run):
    return Page(write_report(real_run))


def change(folder, name, **columns):
    """Set columns of a table of a run."""
    path = folder / f"{name}.csv"
    pd.read_csv(path, keep_default_na=False).assign(**columns).to_csv(path, index=False)


def test_page_has_every_section_and_valid_structure(page):
    assert page.source.startswith("<!DOCTYPE html>")
    sections = [name for name in page.ids if not name.startswith(("object-", "row-"))]
    assert sections == [*SECTIONS[:3], *(f"image-{k}" for k in range(1, 5)), *SECTIONS[3:]]
    assert page.source.index('id="scores"') < page.source.index('id="images"')
    assert "not available" not in page.text
    assert "posterior frequency" in page.text
    assert "not a calibrated probability" in page.text


def test_page_needs_nothing_else(page):
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(link.startswith(("data:image/png;base64,", "data:image/webp;base64,", "#")) for link in page.links)
    linked = {link[1:] for link in page.links if link.startswith("#")}
    assert set(SECTIONS) <= linked <= set(page.ids)
    assert not re.search(r"@import|url\(|https?://", page.source)


def test_a_browser_may_load_nothing_and_run_nothing(page):
    """The policy stands before everything that it is about, and allows pictures and styles of the page itself alone."""
    html = page.source
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy[1].split("; ")[:3] == ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]
    assert policy.start() < min(html.index("<title>"), html.index("<style>"))
    assert "script-src" not in policy[1]


def test_pictures_are_embedded_and_saved(page, real_run):
    plots = real_run / "plots"
    saved = {path.read_bytes() for path in plots.glob("*.png")}
    for image in page.images:
        kind, _, text = image["src"].removeprefix("data:image/").partition(";base64,")
        data = base64.b64decode(text, validate=True)
        assert kind in ("png", "webp")
        assert data in saved or (kind == "webp" and len(data) < 1_000_000)
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.format == kind.upper()
            ratio = picture.size[0] / picture.size[1]
        assert image["alt"]
        assert ratio == pytest.approx(int(image["width"]) / int(image["height"]), rel=0.02)
    names = {path.stem for path in plots.glob("*.png")}
    assert {"scores", "confidence", "counts", "sizes", "review_01", "training"} <= names
    assert {"cell0_noisy", "cell0_consensus", "cell0_sample3", "cell0_overlay", "large_detail", "large_whole"} <= names
    assert "cell0_whole" not in names


def test_scores_of_a_real_run_are_on_the_page(page, real_run):
    summary = open_run(real_run).summary
    table = page.source[page.source.index('id="scores"') : page.source.index('id="images"')]
    rows = dict(re.findall(r'<th scope="row">([^<]+)</th><td class="num[^"]*">([^<]+)</td>', table))
    assert rows == {row.input: f"{row.map:.3f}" for row in summary.itertuples()}
    assert set(re.findall(r'class="ours"><th scope="row">([^<]+)<', table)) == {
        name for name in summary.input if name.startswith("consensus")
    }
    assert "The consensus majority is" in page.text
    assert "4 images with both scores are too few" in page.text
    assert "The width of the best Gaussian was chosen with the ground truth" in page.text


def test_settings_and_versions_of_a_real_run_are_on_the_page(page):
    for words in (
        "fusion.method majority",
        "segmentation.segmenter otsu,smooth=2,min_size=20",
        "device cpu",
        "torch 2",
    ):
        assert words in page.text


def test_review_list_holds_the_least_certain(page, real_run):
    objects = pd.read_csv(real_run / "objects.csv").sort_values(["existence", "mean_iou"], kind="stable")
    table = page.source[page.source.index('id="review"') : page.source.index('id="training"')]
    labels = [int(x) for x in re.findall(r'scope="row"><a[^>]+>[^<]+</a></th><td class="num">(\d+)</td>', table)]
    assert labels == objects.label.head(20).tolist()


def test_review_list_and_pictures_lead_to_one_another(page, real_run):
    count = len(least_certain(open_run(real_run).objects))
    assert count > 0
    for k in range(1, count + 1):
        assert {f"object-{k}", f"row-{k}"} <= set(page.ids)
        assert {f"#object-{k}", f"#row-{k}"} <= set(page.links)
    review = page.source[page.source.index('id="review"') : page.source.index('id="segmenter"')]
    assert len(re.findall('href="#image-[1-4]"', review)) == count


def test_nothing_is_shown_as_null(page):
    words = re.findall(r"\w+", page.text)
    assert not {"null", "None", "nan", "NaN"} & set(words)
    assert "\u2013 to \u2013" not in page.text
    assert "sampling.tile not set" in page.text


def test_names_and_messages_are_escaped(page, run_copy):
    assert "<img src=x onerror=alert(1)> & \"q\" 'q' $x$ 細胞 ü" in page.text
    assert all(image["src"].startswith("data:") for image in page.images)
    rows = [{"image": "<b>x</b>", "file": "x&y.tif", "stage": "read", "error": "</table><script>alert(1)</script>"}]
    pd.DataFrame(rows).to_csv(run_copy / "failures.csv", index=False)
    change(run_copy, "images", warnings="<i>dim</i>")
    record = json.loads((run_copy / "run.json").read_text())
    record["config"]["<k>"] = "</td>{{ 7 * 7 }}"
    (run_copy / "run.json").write_text(json.dumps(record))
    page = Page(write_report(run_copy.rename(run_copy.with_name("a & <b>")), max_images=0))
    assert "</table><script>alert(1)</script>" in page.text
    assert "</td>{{ 7 * 7 }}" in page.text
    assert "a & <b>" in page.text
    assert {"script", "i"}.isdisjoint(page.tags)


def test_findings_come_first(page, run_copy):
    top = page.text[page.text.index("What was found") : page.text.index("median existence")]
    assert "Training had not converged: it saw" in top  # 20 steps
    record = json.loads((run_copy / "run.json").read_text())
    record["training"]["shortfalls"] = []
    (run_copy / "run.json").write_text(json.dumps(record))
    change(run_copy, "images", warnings="")
    clean = Page(write_report(run_copy, max_images=0))
    top = clean.text[clean.text.index("What was found") : clean.text.index("median existence")]
    assert "No warnings." in top
    assert 'class="alarm"' not in clean.source


def test_warnings_and_failures_are_told_at_the_top(run_copy):
    failure = {"image": "bad", "file": "bad.tif", "stage": "read", "error": "truncated"}
    pd.DataFrame([failure]).to_csv(run_copy / "failures.csv", index=False)
    change(run_copy, "images", warnings="nothing found\ndim")
    page = Page(write_report(run_copy, max_images=1))
    sections = [name for name in page.ids if not name.startswith(("object-", "row-"))]
    assert sections == [*SECTIONS[:3], "image-1", *SECTIONS[3:]]
    top = page.text[page.text.index("What was found") : page.text.index("median existence")]
    assert "1 image failed and is in no number or chart of this page" in top
    assert "Nothing found. cell0" in top
    assert "try another segmenter" in top[top.index("What to look at") :]
    assert page.source.index('href="#image-1"') < page.source.index('id="image-1"')


def test_same_folder_gives_the_same_page(run_copy):
    first = write_report(run_copy, max_images=0).read_bytes()
    assert write_report(run_copy, max_images=0).read_bytes() == first


def test_losing_to_a_baseline_is_said_first(run_copy):
    base = [
        {"input": "mmse", "map": 0.6, "seg": 0.7},
        {"input": "consensus majority", "map": 0.5, "seg": 0.6},
    ]
    pd.DataFrame(base).to_csv(run_copy / "summary.csv", index=False)
    text = Page(write_report(run_copy, max_images=0)).text
    assert "The consensus majority is below the best baseline (mmse) in mAP: 0.500 against 0.600" in text
    assert "A baseline has the best score by: mAP, SEG." in text


@pytest.mark.parametrize(
    "gone",
    [
        {
            "model": "not available: training curves (no training log in the model folder)",
            "scores.csv": "scores.csv holds no image with both scores",
        },
        {
            "images.csv": "not available: no images.csv in the run folder",
            "failures.csv": "not available: failures (no failures.csv in the run folder)",
        },
        {
            "objects.csv": "not available: objects to review",
            "labels": "not available: labels (cell0: this run holds no",
        },
        {"denoised": "not available: MMSE (cell0", "crops": "not available: samples (cell0"},
    ],
    ids=lambda gone: "+".join(gone),
)
def test_anything_but_run_json_may_be_missing(run_copy, gone):
    for name in gone:
        path = run_copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = Page(write_report(run_copy)).text
    assert [words for words in gone.values() if words not in text] == []


def test_almost_everything_missing_at_once(tmp_path):
    (tmp_path / "run.json").write_text('{"format": 2, "command": "run"}')
    page = Page(write_report(tmp_path))
    assert page.text.count("not available") >= 8
    assert not page.images


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("fuse", "results of divseg fuse, which has no report"),
        ("train", "results of divseg train, which has no report"),
    ],
)
def test_folders_of_other_commands_have_no_report(tmp_path, command, message):
    (tmp_path / "run.json").write_text(json.dumps({"format": 2, "command": command}))
    with pytest.raises(InputError, match=message):
        write_report(tmp_path)
    with pytest.raises(InputError, match="max_images=-1"):
        write_report(tmp_path, max_images=-1)


def test_without_ground_truth_nothing_is_claimed(run_copy):
    for name in ("scores", "summary"):
        (run_copy / f"{name}.csv").unlink()
    page = Page(write_report(run_copy))
    assert "not available: scores (this run had no ground truth" in page.text
    assert "best baseline" not in page.text
    assert not (run_copy / "plots" / "scores.png").exists()
    assert "The only image." in page.text


def test_no_object_at_all(run_copy):
    objects = pd.read_csv(run_copy / "objects.csv")
    objects.iloc[:0].to_csv(run_copy / "objects.csv", index=False)
    write_labels(run_copy / "labels" / "cell0.tif", 0 * read_labels(run_copy / "labels" / "cell0.tif"))
    text = Page(write_report(run_copy)).text
    assert "objects 0 " in text
    assert "not available: objects to review" in text


def test_scores_that_are_not_numbers(run_copy):
    table = pd.read_csv(run_copy / "summary.csv")
    table.loc[table["input"] == "mmse", ["map", "seg"]] = float("nan")
    table.to_csv(run_copy / "summary.csv", index=False)
    page = Page(write_report(run_copy, max_images=0))
    assert "nan" not in page.text.lower().split()
    assert "The consensus majority is" in page.text
    table[list(TITLES)] = float("nan")
    table.to_csv(run_copy / "summary.csv", index=False)
    text = Page(write_report(run_copy, max_images=0)).text
    assert "not available: scores (the score tables hold no number)" in text


def test_failures_are_counted_and_listed(run_copy):
    rows = [{"image": f"f{k}", "file": f"f{k}.tif", "stage": "read", "error": "truncated"} for k in range(300)]
    pd.DataFrame(rows).to_csv(run_copy / "failures.csv", index=False)
    page = Page(write_report(run_copy, max_images=0))
    assert "<h3>" not in page.source
    assert "300 images failed and are in no number or chart" in page.text
    assert 'class="bad">failed images<strong>300</strong>' in page.source
    assert "300 failed; the first 200 are shown" in page.text


def test_of_many_images_a_few_are_shown(run_copy):
    images, objects = (pd.read_csv(run_copy / f"{name}.csv") for name in ("images", "objects"))
    copies = [images.assign(image=f"i{k}", existence_mean=0.9 - 0.001 * k) for k in range(200)]
    pd.concat(copies).to_csv(run_copy / "images.csv", index=False)
    pd.concat([objects.assign(image=f"i{k}") for k in range(200)]).to_csv(run_copy / "objects.csv", index=False)
    for k in (50, 51):
        shutil.copy(run_copy / "crops" / "cell0.npz", run_copy / "crops" / f"i{k}.npz")
    page = Page(write_report(run_copy, max_images=4))
    assert re.findall("<h3>(.*?)</h3>", page.source) == ["i50", "i51", "i198", "i199"]
    assert "4 of 200 images: 2 with warnings or of lowest mean existence" in page.text


def test_the_choice_of_a_segmenter_is_shown(run_copy):
    table = pd.DataFrame({"segmenter": ["otsu,smooth=2", "li"], "score": [0.5, 0.4], "objects": 0.9})
    others = {"explained": 0.7, "edges": 0.95, "sharpness": 0.5, "n_objects": 12.25}
    table.assign(**others).to_csv(run_copy / "segmenters.csv", index=False)
    record = json.loads((run_copy / "run.json").read_text())
    record["segmenter"] = "otsu,smooth=2"
    record["config"]["segmentation"]["segmenter"] = "auto"
    (run_copy / "run.json").write_text(json.dumps(record))
    text = Page(write_report(run_copy, max_images=0)).text
    assert "chosen without ground truth: otsu,smooth=2 , the best of 2" in text
    assert "Its score is 0.500, that of the next, li, 0.400." in text
    assert "Segmenter: otsu,smooth=2, which the samples support best." in text
    assert "li 0.400 0.900 0.700 0.950 0.500 12.2" in text
    assert "The same segmenter on every input." in text


def test_two_segmenters_are_told_apart(run_copy):
    record = json.loads((run_copy / "run.json").read_text())
    record["segmenter"] = "otsu,smooth=2 + li"
    record["config"]["segmentation"]["segmenter"] = "auto"
    (run_copy / "run.json").write_text(json.dumps(record))
    table = pd.DataFrame({"segmenter": ["otsu,smooth=2", "li"], "score": [0.5, 0.48]})
    table.to_csv(run_copy / "segmenters.csv", index=False)
    text = Page(write_report(run_copy, max_images=0)).text
    assert "otsu,smooth=2 and li , the best and the best of another kind that agrees with it, of 2" in text
    assert "otsu,smooth=2 on every input, and for the consensus li too." in text
    assert "each with the labels of 2 segmenters, in which the object was found" in text
