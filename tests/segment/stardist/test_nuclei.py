"""The model that ships: what it is, and that it does what it is for on an image of none of its training sets."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from stardist.data import test_image_nuclei_2d as bundled_image

from divseg import evaluate, segmenter
from divseg.segment.stardist.models import model_folder

SPLIT = Path(__file__).parents[3] / "benchmarks" / "nuclei_model" / "split.csv"
PLAIN = "stardist:nuclei,device=cpu,threads=0"


@pytest.fixture(scope="module")
def picture():
    grey, truth = bundled_image(return_mask=True)
    return grey[:256, :320].astype(np.float32), truth[:256, :320]


def test_it_is_an_ordinary_model_folder_and_small():
    folder = model_folder("nuclei")
    assert {"README.md", "config.json", "thresholds.json", "weights_best.h5"} == {p.name for p in folder.iterdir()}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    config = json.loads((folder / "config.json").read_text())
    assert (config["n_dim"], config["n_channel_in"], config["n_rays"], config["grid"]) == (2, 1, 32, [2, 2])
    thresholds = json.loads((folder / "thresholds.json").read_text())
    assert 0 < thresholds["prob"] < 1
    assert 0 < thresholds["nms"] < 1


def test_it_finds_nuclei(picture):
    image, truth = picture
    assert evaluate(segmenter(PLAIN)(image), truth).ap50 > 0.75


def test_noise_blur_and_gain_do_not_lose_them(picture):
    image, truth = picture
    rng = np.random.default_rng(0)
    noisy = 3 * image + 500 + rng.normal(0, 20, image.shape)
    assert evaluate(segmenter(PLAIN)(noisy.astype(np.float32)), truth).ap50 > 0.65


def test_nothing_is_found_where_there_is_nothing():
    segment = segmenter(PLAIN)
    assert segment(np.full((96, 96), 7, np.float32)).max() == 0


def test_no_group_of_similar_images_is_in_two_parts():
    with SPLIT.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts = {}
    for row in rows:  # the images of both sets of the Data Science Bowl share groups
        parts.setdefault((row["set"].partition("_")[0], row["group"]), set()).add(row["part"])
    assert all(len(found) == 1 for found in parts.values())
    assert {row["part"] for row in rows} == {"train", "validation", "test"}
    assert len({row["file"] for row in rows}) == len(rows) == 419
