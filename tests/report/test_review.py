import numpy as np
import pandas as pd
import pytest

from divseg.report.image_data import ImageData, read_image_data
from divseg.report.review import SIZE, review_tiles
from divseg.results.open_run import open_run
from divseg.results.queues import least_certain


@pytest.mark.parametrize("shape", [(10, 10), (64, 200), (300, 20)])
def test_every_object_is_pictured_wherever_it_lies(shape):
    labels = np.zeros(shape, np.int32)
    labels[0, 0], labels[-1, -1], labels[2:8, 2:8] = 1, 2, 3
    data = ImageData("a", labels, None, np.ones(shape), None, None, None, ())
    objects = pd.DataFrame({"image": ["$a"] * 4, "label": [1, 2, 3, 99], "existence": [0.1, np.nan, 1.0, 0.2]})
    *tiles, absent = review_tiles(objects, lambda name: data)
    assert absent is None
    assert all(tile.dtype == np.uint8 and max(tile.shape) <= SIZE for tile in tiles)
    assert [(np.ptp(tile.astype(int), axis=2) > 0).any() for tile in tiles] == [True, False, True]


@pytest.mark.parametrize("shape", [(6, 60), (60, 6)])
def test_long_objects_are_wholly_in_their_picture(shape):
    labels = np.zeros((200, 200), np.int32)
    labels[50 : 50 + shape[0], 50 : 50 + shape[1]] = 1
    data = ImageData("a", labels, None, np.ones((200, 200)), None, None, None, ())
    (tile,) = review_tiles(pd.DataFrame({"image": ["a"], "label": [1], "existence": [0.1]}), lambda name: data)
    coloured = np.ptp(tile.astype(int), axis=2) > 0
    assert coloured.any()
    coloured[1:-1, 1:-1] = False
    assert not coloured.any()  # none of the outline at the edge of the picture


def test_no_picture_without_labels_or_image():
    data = ImageData("a", None, None, np.ones((9, 9)), None, None, None, ())
    assert review_tiles(pd.DataFrame({"image": ["a"], "label": [1]}), lambda name: data) == [None]


def test_least_certain_objects_of_a_real_run_are_pictured(real_run):
    run = open_run(real_run)
    objects = least_certain(run.objects)
    assert objects["existence"].iloc[0] == run.objects["existence"].min()
    tiles = review_tiles(objects, lambda name: read_image_data(run, name))
    assert len(tiles) == len(objects) > 0
    assert all(tile is not None for tile in tiles)
