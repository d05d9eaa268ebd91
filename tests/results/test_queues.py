"""Tables made of other tables: what to review first, and points for tracking."""

import numpy as np
import pandas as pd
import pytest

from divseg.results.queues import REVIEWED, least_certain, review_queue, track_points


def test_order_is_existence_then_agreement_and_unknown_comes_last():
    objects = pd.DataFrame(
        {"label": range(5), "existence": [1.0, 0.5, 0.5, np.nan, np.nan], "mean_iou": [0.2, 0.9, 0.4, 0.1, np.nan]}
    )
    assert least_certain(objects).label.tolist() == [2, 1, 0, 3]
    assert least_certain(objects, 1).label.tolist() == [2]
    assert least_certain(pd.DataFrame()).empty
    assert least_certain(objects.assign(p_true=[0.1, 0.9, 0.8, 0.2, np.nan])).label.tolist() == [0, 3, 2, 1]


def test_the_queue_says_how_certain_and_where():
    objects = pd.DataFrame(
        {
            "image": ["a", "b", "a"],
            "label": [1, 1, 2],
            "diameter": [3.0, 3.0, 3.0],
            "existence": [0.9, 0.2, 0.5],
            "p_true": [0.8, 0.3, 0.4],
            "centroid_x": [5.0, 6.0, 7.0],
            "bbox_x_min": [4, 5, 6],
        }
    )
    queue = review_queue(objects)
    assert list(queue) == ["rank", "image", "label", "p_true", "existence", "centroid_x", "bbox_x_min"]
    assert queue["rank"].tolist() == [1, 2, 3]
    assert queue["image"].tolist() == ["b", "a", "a"]
    assert len(review_queue(pd.concat([objects] * 100, ignore_index=True))) == REVIEWED


def test_points_are_in_physical_units():
    objects = pd.DataFrame(
        {
            "image": ["m_t2", "m_t2", "other"],
            "label": [1, 2, 1],
            "centroid_y": [10.0, 20.0, 30.0],
            "centroid_x": [1.0, 2.0, 3.0],
            "area": [np.pi * 16, 4, 4],
            "existence": [0.5, 1, 0.25],
        }
    )
    images = pd.DataFrame(
        {
            "image": ["m_t2", "other"],
            "plane": ["T=2", ""],
            "pixel_size_y": [0.5, np.nan],
            "pixel_size_x": [0.25, np.nan],
            "pixel_unit": ["µm", None],
        }
    )
    points = track_points(objects, images)
    assert points.iloc[0][["series", "frame", "label", "x", "y", "unit"]].tolist() == ["m", 2, 1, 0.25, 5.0, "µm"]
    assert points["radius"][0] == pytest.approx(4 * np.sqrt(0.125))
    assert points.iloc[2][["series", "frame", "x", "y", "unit"]].tolist() == ["other", 0, 3.0, 30.0, "pixel"]
    assert points["quality"].tolist() == [0.5, 1, 0.25]
    assert track_points(objects.assign(p_true=0.75), images)["quality"].tolist() == [0.75] * 3
    assert track_points(objects.iloc[:0], images).empty


@pytest.mark.parametrize(
    ("name", "plane", "series", "frame"),
    [
        ("plate_t07_s1", "T=7 S=1", "plate_s1", 7),
        ("movie_t10", "T=10", "movie", 10),
        ("t003", "", "series", 3),
        ("field_0012", "", "field", 12),
        ("A01/img_t4", "", "A01/img", 4),
        ("cells", "", "cells", 0),
        ("a_c1", "C=1", "a_c1", 0),
        ("x" + "9" * 30, "", "x" + "9" * 30, 0),
    ],
)
def test_frames_are_places_along_t_or_numbers_in_names(name, plane, series, frame):
    objects = pd.DataFrame({"image": [name], "label": [1], "existence": [1.0]})
    images = pd.DataFrame({"image": [name], "plane": [plane]})
    assert track_points(objects, images).iloc[0][["series", "frame"]].tolist() == [series, frame]
