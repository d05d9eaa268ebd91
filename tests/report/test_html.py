import base64
import io
import json
import re
import shutil
import time
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from divseg.errors import InputError
from divseg.report import write_report

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


@pytest.fixture(scope="module")
def finished(builder, tmp_path_factory):
    """A complete run; tests that change it take a copy."""
    sizes = {
        "field 1": (96, 128),
        "field 2": (64, 64),
        "large": (1024, 1024),
    }
    return builder(tmp_path_factory.mktemp("runs") / "full", sizes)


@pytest.fixture
def small(builder, tmp_path):
    return builder(tmp_path / "run", {"a": (64, 64)})


@pytest.fixture(scope="module")
def page(finished):
    return Page(write_report(finished.folder, load=finished.load))


def test_page_has_every_section_and_valid_structure(page):
    assert page.source.startswith("<!DOCTYPE html>")
    sections = ["scores", "images", "objects", "review", "training", "problems", "settings", "cite"]
    assert page.ids == sections
    assert page.source.index('id="scores"') < page.source.index('id="images"')
    assert "not available" not in page.text
    assert "posterior frequency" in page.text
    assert "not a calibrated probability" in page.text


def test_page_needs_nothing_else(page):
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(link.startswith(("data:image/png;base64,", "data:image/webp;base64,", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} == set(page.ids)
    assert not re.search(r"@import|url\(|https?://", page.source)


def test_pictures_are_embedded_and_saved(page, finished):
    plots = finished.folder / "plots"
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
    assert {"scores", "confidence", "counts", "sizes", "review", "training"} <= names
    assert {"field 1_panel", "field 1_overlay", "large_panel", "large_overlay", "large_whole"} <= names
    assert "field 1_whole" not in names


def test_overview_counts_what_the_tables_hold(page, finished):
    objects = pd.read_csv(finished.folder / "objects.csv")
    shown = re.findall(r"<li>([^<]+)<strong>([^<]+)</strong>", page.source)
    cards = {name: value.replace("\u202f", "") for name, value in shown}
    assert cards["images"] == "3"
    assert int(cards["objects"]) == len(objects)
    assert cards["median existence"] == f"{objects.existence.median():.2f}"
    assert cards["existence below 0.8"] == f"{100 * (objects.existence < 0.8).mean():.1f} %"
    assert cards["failed images"] == "0"


def test_review_list_holds_the_least_certain(page, finished):
    objects = pd.read_csv(finished.folder / "objects.csv").sort_values(["existence", "mean_iou"], kind="stable")
    table = page.source[page.source.index('id="review"') : page.source.index('id="training"')]
    labels = [int(x) for x in re.findall(r'scope="row">[^<]+</th><td class="num">(\d+)</td>', table)]
    assert labels == objects.label.head(20).tolist()


def test_same_folder_gives_the_same_page(small):
    first = write_report(small.folder, load=small.load, max_images=0).read_bytes()
    assert write_report(small.folder, load=small.load, max_images=0).read_bytes() == first


def test_losing_to_a_baseline_is_said_first(small):
    base = [
        {"input": "mmse", "map": 0.6, "seg": 0.7},
        {"input": "consensus majority", "map": 0.5, "seg": 0.6},
    ]
    pd.DataFrame(base).to_csv(small.folder / "summary.csv", index=False)
    text = Page(write_report(small.folder, max_images=0)).text
    assert "The consensus majority is below the best baseline (mmse) in mAP: 0.500 against 0.600" in text
    assert "A baseline has the best score by: mAP, SEG." in text


def test_names_and_messages_are_escaped(builder, tmp_path):
    nasty = "<img src=x onerror=alert(1)> & \"q\" 'q' $x$ 細胞 ü"
    run = builder(tmp_path / "a & <b>", {nasty: (64, 64)})
    failures = [
        {
            "image": "<b>x</b>",
            "file": "x&y.tif",
            "stage": "read",
            "error": "</table><script>alert(1)</script>",
        }
    ]
    pd.DataFrame(failures).to_csv(run.folder / "failures.csv", index=False)
    images = pd.read_csv(run.folder / "images.csv")
    images["warnings"] = "<i>dim</i>"
    images.to_csv(run.folder / "images.csv", index=False)
    record = json.loads((run.folder / "run.json").read_text())
    record["config"] = {"<k>": "</td>{{ 7 * 7 }}"}
    (run.folder / "run.json").write_text(json.dumps(record))
    page = Page(write_report(run.folder, load=run.load))
    assert nasty in page.text
    assert "</table><script>alert(1)</script>" in page.text
    assert "</td>{{ 7 * 7 }}" in page.text
    assert {"script", "i"}.isdisjoint(page.tags)
    assert all(image["src"].startswith("data:") for image in page.images)
    assert (run.folder / "plots" / f"{nasty}_panel.png").is_file()


def test_names_in_folders_and_names_that_try_to_leave(builder, tmp_path):
    run = builder(tmp_path / "run", {"plate/a1": (64, 64), "NA": (64, 64)})
    images = pd.read_csv(run.folder / "images.csv", keep_default_na=False)
    more = [images.iloc[:1].assign(image=name) for name in ("../../evil", "/evil")]
    images = pd.concat([images, *more])
    images.to_csv(run.folder / "images.csv", index=False)
    page = Page(write_report(run.folder, load=lambda name: np.zeros((64, 64)), max_images=9))
    assert re.findall("<h3>(.*?)</h3>", page.source)[:2] == ["plate/a1", "NA"]
    assert (run.folder / "plots" / "plate" / "a1_panel.png").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize(
    "gone",
    [
        {
            "run.json": "not available: no run.json in the result folder",
            "model": "not available: training curves (no model/training.jsonl in the result folder)",
            "scores.csv": "too few to say whether that is chance",
        },
        {"images.csv": "not available: no images.csv in the result folder", "failures.csv": "No image failed."},
        {
            "objects.csv": "not available: objects to review",
            "summary.csv": "No summary.csv: these are plain means",
            "labels": "not available: labels (no file labels/a.tif)",
            "samples": "not available: sample 1 (no file samples/a.tif)",
        },
        {
            "denoised": "not available: MMSE (no file denoised/a.tif)",
            "maps": "not available: spread (no file maps/a_sd.tif)",
        },
    ],
    ids=lambda gone: "+".join(gone),
)
def test_anything_may_be_missing(small, gone):
    for name in gone:
        path = small.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = Page(write_report(small.folder, load=small.load)).text
    assert [words for words in gone.values() if words not in text] == []


def test_almost_everything_missing_at_once(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    page = Page(write_report(tmp_path))
    assert page.text.count("not available") >= 8
    assert not page.images


@pytest.mark.parametrize("content", [b"", b"{\xff\xfe", b'a,b\n"1,2,3\n', b"[1, 2]"])
def test_damaged_tables_do_not_stop_the_report(small, content):
    for name in ("run.json", "images.csv", "objects.csv", "scores.csv", "summary.csv", "failures.csv"):
        (small.folder / name).write_bytes(content)
    text = Page(write_report(small.folder, load=small.load)).text
    assert "not available: run.json" in text


def test_damaged_images_do_not_stop_the_report(small):
    (small.folder / "labels" / "a.tif").write_bytes(b"II*\0 not a tiff")
    tifffile.imwrite(small.folder / "denoised" / "a.tif", np.zeros((7, 7), np.float32))
    (small.folder / "samples" / "a.tif").write_bytes(b"")
    text = Page(write_report(small.folder, load=small.load)).text
    assert "not available: labels (" in text
    assert "not available: spread (shape (64, 64) differs from (7, 7))" in text
    assert "not available: sample 1 (" in text


def test_half_a_last_line_of_the_log_is_reported(small):
    with (small.folder / "model" / "training.jsonl").open("a") as file:
        file.write('{"step": 4000, "lo')
    page = Page(write_report(small.folder, max_images=0))
    assert "<h3>" not in page.source
    assert "1 line(s) of model/training.jsonl cannot be read" in page.text
    assert any("Loss" in image["alt"] for image in page.images)


def test_noisy_image_that_cannot_be_loaded_leaves_a_note(small):
    def load(name):
        raise OSError("the input has moved")

    text = Page(write_report(small.folder, load=load)).text
    assert "not available: noisy image (the input has moved)" in text


def test_without_truth_nothing_is_claimed(builder, tmp_path):
    run = builder(tmp_path / "run", {"a": (64, 64)}, truth=False)
    page = Page(write_report(run.folder, load=run.load))
    assert "not available: scores (no truth was given" in page.text
    assert "best baseline" not in page.text
    assert not (run.folder / "plots" / "scores.png").exists()
    assert "The only image." in page.text


def test_no_object_at_all(builder, tmp_path):
    run = builder(tmp_path / "run", {"a": (64, 64), "b": (500, 70)}, density=0)
    text = Page(write_report(run.folder, load=run.load)).text
    assert "objects 0 " in text
    assert "not available: objects to review" in text


def test_scores_that_are_not_numbers(small):
    for name in ("scores.csv", "summary.csv"):
        table = pd.read_csv(small.folder / name)
        table.loc[table["input"] == "mmse", ["map", "seg"]] = np.nan
        table.to_csv(small.folder / name, index=False)
    page = Page(write_report(small.folder, max_images=1))
    assert "not available: noisy image (the input was not given" in page.text
    assert "nan" not in page.text.lower().split()
    assert "The consensus majority is" in page.text
    table[["map", "ap50", "ap75", "seg", "f1"]] = np.nan
    table.to_csv(small.folder / "summary.csv", index=False)
    text = Page(write_report(small.folder, max_images=0)).text
    assert "not available: scores (the score tables hold no number)" in text


def test_failures_are_counted_and_listed(small):
    rows = [{"image": f"f{k}", "file": f"f{k}.tif", "stage": "read", "error": "truncated"} for k in range(300)]
    pd.DataFrame(rows).to_csv(small.folder / "failures.csv", index=False)
    page = Page(write_report(small.folder, max_images=0))
    assert 'class="bad">failed images<strong>300</strong>' in page.source
    assert "300 failed; the first 200 are shown" in page.text


def test_many_images_show_a_few_within_bounded_time(builder, small):
    images, objects = (pd.read_csv(small.folder / f"{name}.csv") for name in ("images", "objects"))
    copies = [images.iloc[[0]].assign(image=f"i{k}", existence_mean=0.9 - 0.001 * k) for k in range(200)]
    pd.concat(copies).to_csv(small.folder / "images.csv", index=False)
    pd.concat([objects.assign(image=f"i{k}") for k in range(200)]).to_csv(small.folder / "objects.csv", index=False)
    for kind, ending in (("labels", ".tif"), ("denoised", ".tif"), ("maps", "_sd.tif"), ("samples", ".tif")):
        for k in range(0 if kind != "samples" else 50, 200 if kind != "samples" else 52):
            shutil.copy(small.folder / kind / f"a{ending}", small.folder / kind / f"i{k}{ending}")
    start = time.perf_counter()
    page = Page(write_report(small.folder, max_images=4))
    assert time.perf_counter() - start < 20
    shown = re.findall("<h3>(.*?)</h3>", page.source)
    assert shown == ["i50", "i51", "i198", "i199"]
    assert "4 of 200 images: the 2 of lowest mean existence" in page.text


@pytest.mark.parametrize("wrong", ["missing", "empty"])
def test_not_a_result_folder(tmp_path, wrong):
    folder = tmp_path / wrong
    if wrong == "empty":
        folder.mkdir()
    with pytest.raises(InputError, match=wrong) as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="max_images=-1"):
        write_report(folder, max_images=-1)


def test_the_choice_of_a_segmenter_is_shown(small):
    names = [f"otsu,smooth={k},split=none,min_size=20" for k in range(10)]
    table = pd.DataFrame({"segmenter": names, "score": np.linspace(0.5, 0.1, 10), "objects": 0.9})
    table.assign(explained=0.7, n_objects=12.25).to_csv(small.folder / "segmenters.csv", index=False)
    assert "chosen without truth" not in Page(write_report(small.folder)).text  # of an earlier run with auto
    run = json.loads((small.folder / "run.json").read_text())
    run["segmenter_choice"] = {"key": "k", "segmenter": names[0]}
    run["config"]["segmenter"] = "auto"
    (small.folder / "run.json").write_text(json.dumps(run))
    text = Page(write_report(small.folder)).text
    assert f"chosen without truth: {names[0]} , the best of 10" in text
    assert f"{names[7]} 0.189 0.900 0.700 12.2" in text
    assert names[8] not in text
    (small.folder / "run.json").write_text(json.dumps({**run, "config": {"segmenter": "otsu"}}))
    assert "chosen without truth" not in Page(write_report(small.folder)).text  # named since
    (small.folder / "run.json").write_text(json.dumps(run))
    (small.folder / "segmenters.csv").write_text("broken")
    assert "chosen without truth" not in Page(write_report(small.folder)).text
