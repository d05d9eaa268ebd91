"""Outlines for other programs: filled as those programs fill them they are the label image again."""

import builtins
import json
import sys

import numpy as np
import pandas as pd
import pytest
import roifile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path

from divseg.errors import ExtraRequired
from divseg.io.objects_out import write_geojson, write_rois

LABELS = arrays(np.uint16, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 3))


def fill(rings, shape):
    """Return the pixels whose centres are inside of an odd number of rings."""
    y, x = np.indices(shape)
    centres = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
    inside = sum(Path(np.asarray(ring, float)).contains_points(centres).astype(int) for ring in rings)
    return (inside % 2 == 1).reshape(shape)


def table(labels):
    present = np.unique(labels[labels > 0])
    n = len(present)
    return pd.DataFrame({"label": present, "existence": np.linspace(0.4, 1, n), "p_true": np.linspace(0.2, 0.9, n)})


def roi_rings(roi):
    """Return the rings of a ROI as ImageJ reads them."""
    if not roi.composite:
        return [roi.integer_coordinates + np.array([roi.left, roi.top])]
    rings, values = [], roi.multi_coordinates.tolist()
    while values:
        kind = values.pop(0)
        if kind == 0:
            rings.append([])
        if kind in (0, 1):
            rings[-1].append([values.pop(0), values.pop(0)])
        else:
            assert kind == 4
    return rings


@given(LABELS)
def test_rois_fill_to_the_label_image(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("rois") / "a.zip"
    write_rois(path, labels, table(labels))
    rois = roifile.roiread(path) if labels.any() else []
    back = np.zeros_like(labels)
    for roi in rois if isinstance(rois, list) else [rois]:
        pixels = fill(roi_rings(roi), labels.shape)
        assert not back[pixels].any()
        back[pixels] = int(roi.name)
    np.testing.assert_array_equal(back, labels)


@given(LABELS)
def test_geojson_fills_to_the_label_image(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("json") / "a.geojson"
    write_geojson(path, labels, table(labels))
    back = np.zeros_like(labels)
    for feature in json.loads(path.read_text())["features"]:
        shape = feature["geometry"]
        polygons = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
        assert all(ring[0] == ring[-1] for polygon in polygons for ring in polygon)
        measured = feature["properties"]["measurements"]
        assert (measured["parts"], measured["holes"]) == (len(polygons), sum(len(p) - 1 for p in polygons))
        for polygon in polygons:
            pixels = fill(polygon, labels.shape)
            assert not back[pixels].any()
            back[pixels] = measured["label"]
    np.testing.assert_array_equal(back, labels)


def test_what_is_known_goes_along(tmp_path):
    labels = np.zeros((9, 12), int)
    labels[1:4, 1:4], labels[5:8, 6:11], labels[6, 7:10] = 1, 12, 0
    objects = pd.DataFrame({"label": [1, 12], "existence": [0.5, 1], "p_true": [np.nan, 0.75], "class": ["dim", ""]})
    write_geojson(tmp_path / "a.geojson", labels, objects)
    first, second = (f["properties"] for f in json.loads((tmp_path / "a.geojson").read_text())["features"])
    assert first["classification"] == {"name": "dim"}
    assert first["measurements"] == {"label": 1, "existence": 0.5, "parts": 1, "holes": 0}
    assert second["measurements"] == {"label": 12, "existence": 1, "p_true": 0.75, "parts": 1, "holes": 1}
    assert "classification" not in second
    assert (first["objectType"], second["name"]) == ("detection", "12")
    assert len(first["color"]) == 3
    write_rois(tmp_path / "a.zip", labels, objects)
    one, other = roifile.roiread(tmp_path / "a.zip")
    assert (one.name, other.name) == ("01", "12")
    assert one.props.splitlines() == ["existence: 0.5", "parts: 1.0", "holes: 0.0", "class: dim"]
    assert (one.roitype, one.composite, other.composite) == (roifile.ROI_TYPE.TRACED, False, True)
    assert [other.left, other.top, other.right, other.bottom] == [6, 5, 11, 8]
    assert list(one.stroke_color)[1:] == first["color"]


def test_the_same_bytes_every_time(tmp_path):
    labels = np.eye(5, dtype=int)
    for name in ("a", "b"):
        write_rois(tmp_path / name, labels, table(labels))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_without_roifile_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "roifile")
    real = builtins.__import__

    def missing(name, *rest):
        if name == "roifile":
            raise ImportError("No module named 'roifile'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ExtraRequired, match=r'pip install "divseg\[rois\]"'):
        write_rois(tmp_path / "a.zip", np.eye(3, dtype=int), table(np.eye(3, dtype=int)))
    assert not (tmp_path / "a.zip").exists()
