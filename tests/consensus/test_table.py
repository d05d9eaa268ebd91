import numpy as np
import pytest
from skimage.measure import regionprops

from divseg import fuse
from divseg.consensus.evidence import ObjectEvidence
from divseg.consensus.overlaps import overlaps
from divseg.consensus.run_lengths import RunLengths, to_runs
from divseg.consensus.stack import LabelStack
from divseg.consensus.table import alternatives_table, diameter, object_table, topology
from divseg.labels import LabelImage


def test_columns_are_the_documented_ones(cells):
    from divseg import Consensus

    for masks in (cells, [np.stack([c, c]) for c in cells]):
        table = fuse(masks).objects
        for name in table:
            assert name in Consensus.__doc__, name
    assert "``prob_mean``" in Consensus.__doc__
    assert [c for c in table if c.startswith("centroid")] == ["centroid_z", "centroid_y", "centroid_x"]


def test_places_and_areas_are_those_of_the_labels(cells):
    result = fuse(cells)
    for row, region in zip(result.objects.itertuples(), regionprops(result.labels), strict=True):
        assert row.label == region.label
        assert row.area == region.area
        assert (row.centroid_y, row.centroid_x) == pytest.approx(region.centroid)
        assert (row.bbox_y_min, row.bbox_x_min, row.bbox_y_max, row.bbox_x_max) == region.bbox
        assert row.diameter == pytest.approx(region.equivalent_diameter_area)


def test_spread_is_that_of_the_members(cells):
    stack = LabelStack.of(cells)
    evidence = ObjectEvidence(to_runs(fuse(cells).labels), stack)
    table = object_table(evidence, {})
    for j, row in enumerate(table.to_dict("records")):
        members = evidence.overlaps.members[j]
        areas = stack.areas[members[members >= 0]]
        for name, values in (("area", areas), ("diameter", diameter(areas, 2))):
            assert row[f"{name}_mean"] == pytest.approx(values.mean())
            assert row[f"{name}_std"] == pytest.approx(values.std(ddof=1))
            quantiles = np.quantile(values, [0.05, 0.5, 0.95])
            assert [row[f"{name}_q{q}"] for q in ("05", "50", "95")] == pytest.approx(quantiles.tolist())
        assert row["existence"] == len(areas) / 12
        assert row["n_members"] == len(areas)


def test_few_members_have_no_spread():
    a, b = np.zeros((6, 6), int), np.zeros((6, 6), int)
    a[:3, :3] = 1
    table = object_table(ObjectEvidence(to_runs(np.pad(a[:3, :3], ((0, 3), (0, 3)))), LabelStack.of([a, b])), {})
    assert table["area_mean"].tolist() == [9]
    assert table["area_std"].isna().all()
    b[3:, 3:] = 1
    lonely = object_table(ObjectEvidence(to_runs(b), LabelStack.of([a, a])), {})
    assert lonely[["mean_iou", "area_mean", "area_q50", "diameter_q95"]].isna().all(axis=None)
    assert lonely["existence"].tolist() == [0]


def test_diameters():
    assert diameter(np.array([np.pi * 25]), 2) == pytest.approx(10)
    assert diameter(np.array([4 / 3 * np.pi * 125]), 3) == pytest.approx(10)


def test_splits_and_merges_are_counted(pair):
    both, merged, left = pair
    stack = LabelStack.of([both, both, both, merged, left])
    p_split, p_merge = topology(overlaps(to_runs(both), stack))
    assert p_split.tolist() == [0, 0]
    assert p_merge.tolist() == [0.2, 0.2]
    p_split, p_merge = topology(overlaps(to_runs(merged), stack))
    assert p_split.tolist() == [0.6]
    assert p_merge.tolist() == [0]


def test_a_speck_is_no_split(pair):
    _, merged, _ = pair
    speck = merged.copy()
    speck[2:4, 2:4] = 2
    p_split, _ = topology(overlaps(to_runs(merged), LabelStack.of([speck, speck])))
    assert p_split.tolist() == [0]


def test_alternatives_say_what_they_are(pair):
    both, merged, left = pair
    rare = left.copy()
    rare[11, 22:] = 2
    result = fuse([both] * 5 + [merged] * 3 + [rare] * 2)
    assert np.array_equal(result.labels, both)
    table = result.alternatives
    assert table["kind"].tolist() == ["merged", "unlikely"]
    assert table["rivals"].tolist() == ["1 2", ""]
    assert table["existence"].tolist() == pytest.approx([0.3, 0.2])
    assert table["area"].tolist() == [160, 2]
    reverse = fuse([both] * 3 + [merged] * 7)
    assert np.array_equal(reverse.labels, merged)
    assert reverse.alternatives["kind"].tolist() == ["part", "part"]
    assert reverse.alternatives["rivals"].tolist() == ["1", "1"]


def test_probabilities_of_the_segmenter_are_averaged_over_the_members(pair):
    apart, merged, _ = pair
    masks = [
        LabelImage(3 * apart, [0, 0, 0.5, 0, 0, 0.9, 0.1]),
        LabelImage(apart, [0.6, 0.7]),
        LabelImage(merged, [1.0]),
    ]
    table = fuse(masks).objects
    assert table["prob_mean"].tolist() == pytest.approx([0.55, 0.8])
    assert list(fuse(f for f in masks[::-1]).objects["prob_mean"]) == pytest.approx([0.55, 0.8])
    heavy = fuse(masks, weights=[3, 1, 1]).objects["prob_mean"]
    assert heavy.tolist() == pytest.approx([(3 * 0.5 + 0.6) / 4, (3 * 0.9 + 0.7) / 4])
    assert fuse([masks[0], apart, apart]).objects["prob_mean"].tolist() == pytest.approx([0.5, 0.9]), "NaN is left out"
    assert "prob_mean" not in fuse([apart, apart]).objects


def test_an_object_without_members_has_no_probability():
    empty = LabelImage(np.zeros((4, 4), int), [])
    assert fuse([empty, empty]).objects["prob_mean"].tolist() == []


def test_rivals_share_more_than_two_in_a_hundred_pixels():
    """An object of 100 pixels, and hypotheses of 100 pixels that share 10, 3 and 2 with it."""
    starts = np.array([0, 90, 97, 98])
    hypotheses = RunLengths(starts, np.full(4, 100, np.int32), np.arange(4, dtype=np.int32), np.full(4, 100))
    labels = np.zeros((1, 1, 200), np.int32)
    labels[..., :100] = 1
    stack = LabelStack.of([labels[0], labels[0]])
    table = alternatives_table(ObjectEvidence(hypotheses, stack), labels, to_runs(labels), np.arange(4) == 9)
    assert table["kind"].tolist() == ["other shape", "other shape", "unlikely"]
    assert table["rivals"].tolist() == ["1", "1", ""]
