"""What a run warns of: each kind on its case, nothing on a clean image."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage as ndi

from divseg.errors import CORRELATED, DOUBTFUL, MISFIT, NOTHING, OUTLIERS, SATURATED, UNFINISHED, UNLIKE, concern_of
from divseg.workflow.run import run

SHAPE = (128, 128)
STD = 12.0


def picture(seed):
    """Return clean discs."""
    rng = np.random.default_rng(seed)
    image = np.full(SHAPE, 100.0)
    y, x = np.indices(SHAPE)
    for cy, cx in rng.uniform(16, 112, (8, 2)):
        image[np.hypot(y - cy, x - cx) < 10] = 180.0
    return image


def noise(seed, blur=0.0):
    white = np.random.default_rng(100 + seed).normal(size=SHAPE)
    if blur:
        white = ndi.gaussian_filter(white, blur, mode="wrap")
    return STD * white / white.std()


CASES = {
    "clean": (lambda: picture(0) + noise(0), set()),
    "rows": (
        lambda: picture(1) + noise(1) + 2 * STD * np.random.default_rng(5).normal(size=(SHAPE[0], 1)),
        {CORRELATED},
    ),
    "smooth": (lambda: picture(2) + 0.7 * noise(2) + 0.7 * noise(9, blur=2), {CORRELATED}),
    "hot": (lambda: hot(picture(3) + noise(3)), {OUTLIERS}),
    "saturated": (lambda: np.minimum(picture(4) + noise(4), 185), {SATURATED}),
    "weak": (lambda: picture(5) + 0.3 * noise(5), {MISFIT}),
    "strong": (lambda: picture(6) + 4 * noise(6), {MISFIT, UNLIKE}),
}


def hot(image):
    image.ravel()[np.random.default_rng(6).permutation(image.size)[:12]] = 3000
    return image


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Run that trains on clean images, and one with its model on images of every kind."""
    root = tmp_path_factory.mktemp("warnings")
    (root / "clean").mkdir()
    (root / "odd").mkdir()
    for k in range(3):
        tifffile.imwrite(root / "clean" / f"c{k}.tif", (picture(20 + k) + noise(20 + k)).astype(np.float32))
    for name, (make, _) in CASES.items():
        tifffile.imwrite(root / "odd" / f"{name}.tif", make().astype(np.float32))
    settings = {"samples": 8, "device": "cpu", "segmenter": "otsu,smooth=2,min_size=20", "report": False, "simulate": 0}
    network = {"network": "flat,filters=8,latents=8", "train_steps": 400}
    run(root / "clean", root / "first", **settings, **network)
    run(root / "odd", root / "second", model=root / "first" / "model", **settings)
    return SimpleNamespace(first=root / "first", second=root / "second")


def warnings_of(folder):
    table = pd.read_csv(folder / "images.csv", keep_default_na=False)
    return {row.image: [concern_of(line) for line in row.warnings.splitlines()] for row in table.itertuples()}


@pytest.mark.parametrize("name", CASES)
def test_each_warning_fires_on_its_case(result, name):
    found = set(warnings_of(result.second)[name])
    wanted = CASES[name][1]
    assert found >= wanted
    if name == "clean":
        assert found == set()


def test_images_that_were_trained_on_have_none(result):
    assert warnings_of(result.first) == {f"c{k}": [] for k in range(3)}


def test_a_short_training_is_told_in_log_record_and_card(result):
    assert UNFINISHED.lead in (result.first / "run.log").read_text()
    assert UNFINISHED.lead in (result.second / "run.log").read_text()
    assert UNFINISHED.lead in (result.first / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("existence", "concern"), [([], NOTHING), ([0.6, 0.55, 0.7], DOUBTFUL), ([0.6, 0.9, 0.7], None)]
)
def test_images_without_sure_objects_are_told(existence, concern):
    from divseg.workflow.image_warnings import warn_of_objects

    told = []
    warn_of_objects(SimpleNamespace(warn=told.append), pd.DataFrame({"existence": np.array(existence, float)}))
    assert [concern_of(line) for line in told] == ([concern] if concern else [])
