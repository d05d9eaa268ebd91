"""The contract of fuse, for every method."""

import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from divseg import Consensus, fuse
from divseg.consensus import METHODS, OBJECTIVES, LabelStack
from divseg.errors import ConfigError, InputError

every_method = pytest.mark.parametrize("method", METHODS)
images = hnp.arrays(np.uint8, (6, 7), elements=st.integers(0, 3))


def same_partition(a, b):
    pairs = set(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    return len(pairs) == len({p for p, _ in pairs}) == len({q for _, q in pairs}) and all(
        (p > 0) == (q > 0) for p, q in pairs
    )


def same(a, b):
    """All that depends on the set of samples only."""
    assert np.array_equal(a.labels, b.labels)
    assert np.array_equal(a.foreground, b.foreground)
    assert np.array_equal(a.boundary, b.boundary)
    assert a.objects.equals(b.objects)
    assert a.alternatives.equals(b.alternatives)
    assert a.expected == pytest.approx(b.expected, nan_ok=True)


@every_method
def test_contract(cells, method):
    masks = [*cells, np.zeros_like(cells[0])]
    result = fuse(masks, method=method)
    assert isinstance(result, Consensus)
    assert result.labels.dtype == np.int32
    assert result.labels.shape == result.foreground.shape == result.boundary.shape == cells[0].shape
    assert result.foreground.dtype == result.boundary.dtype == np.float32
    assert result.n_samples == 13
    assert result.counts.tolist() == [len(np.unique(m)) - 1 for m in masks]
    assert result.method == method
    assert set(result.expected) == {"seg", "det", "ap50", "ap75", "map", "f1", "pq"}
    assert f"by {method}" in repr(result)
    names = [n for n in dict.fromkeys(result.labels.ravel().tolist()) if n]
    assert names == list(range(1, len(result.objects) + 1)) == result.objects["label"].tolist()
    assert result.objects["existence"].between(0, 12 / 13 + 1e-9).all()
    assert len(result.objects) > 8


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_clustering_finds_the_cells_for_every_objective(cells, objective):
    result = fuse(cells, objective=objective)
    assert len(result.objects) == 16
    expected = np.mean(
        [[(m[y : y + 18, x : x + 18] > 0).any() for y in range(0, 72, 18) for x in range(0, 72, 18)] for m in cells],
        axis=0,
    )
    assert result.objects["existence"].mean() == pytest.approx(expected.mean())
    assert result.objects["mean_iou"].min() > 0.75
    assert result.objects["area"].between(100, 165).all()


@every_method
@settings(max_examples=10, deadline=None)
@given(labels=images)
def test_one_sample_comes_back_relabelled(method, labels):
    result = fuse([labels], method=method)
    assert same_partition(result.labels, labels)
    assert (result.objects["existence"] == 1).all()
    assert (result.objects["mean_iou"] == 1).all()


@every_method
@settings(max_examples=10, deadline=None)
@given(labels=images, copies=st.integers(2, 5))
def test_copies_are_one_sample(method, labels, copies):
    result = fuse(iter([labels] * copies), method=method)
    assert np.array_equal(result.labels, fuse([labels], method=method).labels)
    assert (result.objects["existence"] == 1).all()
    assert (result.objects["mean_iou"] == 1).all()


@every_method
@settings(max_examples=10, deadline=None)
@given(masks=st.lists(images, min_size=2, max_size=5), seed=st.integers(0, 99))
def test_neither_order_nor_labels_matter(method, masks, seed):
    rng = np.random.default_rng(seed)
    other = []
    for k in rng.permutation(len(masks)):
        names = np.concatenate([[0], rng.permutation(50)[:9] + 1])
        other.append(names[masks[k]])
    same(fuse(masks, method=method), fuse(other, method=method))


@pytest.mark.parametrize("count", [12, 40])
def test_order_does_not_matter_where_pairs_of_samples_are_drawn(make_cells, count):

    rng = np.random.default_rng(count)
    masks = [make_cells(rng, miss=0.3, jitter=1.5) for _ in range(count)]
    same(fuse(masks), fuse(masks[::-1]))


@every_method
def test_a_shift_of_all_shifts_the_result(cells, method):
    padded = [np.pad(c, ((3, 9), (2, 5))) for c in cells]
    moved = [np.pad(c, ((8, 4), (5, 2))) for c in cells]
    a, b = fuse(padded, method=method), fuse(moved, method=method)
    assert np.array_equal(np.roll(a.labels, (5, 3), (0, 1)), b.labels)
    assert np.array_equal(a.objects["existence"], b.objects["existence"])


@every_method
def test_volumes_are_fused_like_planes(cells, method):
    flat = fuse(cells, method=method)
    solid = fuse([np.stack([c, c, c]) for c in cells], method=method)
    assert solid.labels.shape == (3, 72, 72)
    assert all(np.array_equal(plane, flat.labels) for plane in solid.labels)
    assert solid.objects["centroid_z"].eq(1).all()
    assert np.array_equal(solid.objects["existence"], flat.objects["existence"])


@pytest.mark.parametrize("k", [3, 5, 20])
def test_one_merged_outlier_does_not_merge(pair, k):
    both, merged, _ = pair
    result = fuse([both] * (k - 1) + [merged])
    assert np.array_equal(result.labels, both)
    assert result.objects["existence"].tolist() == pytest.approx([(k - 1) / k] * 2)
    assert result.objects["p_merge"].tolist() == pytest.approx([1 / k] * 2)


def test_empty_samples_count(cells):
    full = fuse(cells).objects["existence"]
    half = fuse([*cells, *([np.zeros_like(cells[0])] * 12)]).objects["existence"]
    assert half.max() <= 0.5
    assert half.to_numpy() == pytest.approx(full.to_numpy() / 2)


@every_method
def test_nothing_gives_nothing(method):
    result = fuse(np.zeros((3, 5, 5), int), method=method)
    assert not result.labels.any()
    assert len(result.objects) == len(result.alternatives) == 0
    assert np.isnan(result.expected["map"])
    assert "centroid_y" in result.objects
    assert "rivals" in result.alternatives


def test_threshold_on_existence(cells):
    rare = np.zeros_like(cells[0])
    rare[16:20, 16:20] = 1
    masks = [np.where(rare * (k < 4) > 0, 199, c) for k, c in enumerate(cells)]
    assert len(fuse(masks, existence=0.25).objects) == 17
    assert len(fuse(masks, existence=0.5).objects) == 16
    for method in METHODS:
        assert (fuse(masks, existence=0.9, method=method).objects["existence"] >= 0.9).all()


def test_touching_cells_with_an_uncertain_border_stay_two():
    masks = []
    for border in (14, 16, 18, 20, 22, 24, 26):
        image = np.zeros((20, 40), int)
        image[2:18, 2:border] = 1
        image[2:18, border:38] = 2
        masks.append(image)
    result = fuse(masks)
    assert len(result.objects) == 2
    assert result.objects["existence"].tolist() == [1, 1]
    assert np.unique(result.labels[2:18, 2:38]).tolist() == [1, 2]


def test_an_array_is_a_stack_of_samples(cells):
    same(fuse(np.stack(cells)), fuse(cells))


def test_same_input_same_output(cells):
    same(fuse(cells, seed=3), fuse(cells, seed=3))


def test_options_may_be_in_the_name_of_the_method(cells):
    simple = fuse(cells, method="voting, scheme=simple, fail_safe=no, threshold=0.4")
    same(simple, fuse(cells, method="voting", scheme="simple", fail_safe=False, threshold=0.4))
    assert simple.method == "voting,scheme=simple,fail_safe=no,threshold=0.4"
    same(
        fuse(cells, method="mutex,offsets=3 7,refine=false"), fuse(cells, method="mutex", offsets=(3, 7), refine=False)
    )
    same(fuse(cells, method="clustering,links=4"), fuse(cells, links=4))
    same(fuse(cells, method="voting", fail_safe=None, threshold=0.4), fuse(cells, method="voting,threshold=0.4"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "voting,sheme=simple"}, "method 'voting' has no option 'sheme'; did you mean 'scheme'"),
        ({"method": "voting,markers=a.tif"}, "method 'voting' has no option 'markers'"),
        ({"method": "voting,objective=map"}, "method 'voting' has no option 'objective'"),
        ({"method": "voting,simple"}, "'simple' is not an option; write name=value"),
        ({"method": "voting,scheme=simpel"}, "scheme must be one of flat, simple; did you mean 'simple'"),
        (
            {"method": "voting,threshold=half"},
            "method option threshold=half: threshold must be a number from 0.01 to 1",
        ),
        ({"method": "clustering,links=2.5"}, "links must be an integer not below 2"),
        ({"method": "mutex,refine=3"}, "refine must be true or false"),
        ({"method": "mutex,offsets=a"}, "offsets must be whole numbers not below 2"),
        ({"method": "voting,threshold=1,threshold=1"}, "option threshold is given twice"),
        ({"method": "voting,threshold=1", "threshold": 1}, "option threshold is given twice"),
        (
            {"method": "clusterin"},
            "unknown method 'clusterin'; did you mean 'clustering'\\? \\(known: clustering, voting",
        ),
        ({"method": ""}, "has no method; begin with one, for example voting,scheme=simple"),
        ({"markers": np.zeros((72, 72), int)}, "method 'clustering' does not take markers; use voting"),
        ({"objective": "ap5"}, "unknown objective 'ap5'; did you mean 'ap50'"),
        ({"existence": 1.5}, "existence=1.5"),
        ({"existence": float("nan")}, "existence=nan"),
        ({"link": 4}, "method 'clustering' has no option 'link'; did you mean 'links'\\? \\(options: links\\)"),
        ({"link": None}, "method 'clustering' has no option 'link'"),
        ({"links": "many"}, "links must be an integer not below 2"),
        ({"links": [4]}, "links must be an integer not below 2"),
        ({"method": "majority", "links": 4}, "method 'majority' has no option 'links' \\(options: none\\)"),
        ({"weights": [1, 2]}, "weights has shape \\(2,\\) but there are more masks"),
        ({"weights": [1] * 13}, "weights has shape \\(13,\\); give one number for each of the 12 masks"),
        ({"weights": "heavy"}, "weights='heavy' are not numbers"),
        ({"weights": np.ones((2, 6))}, "weights has shape \\(2, 6\\)"),
        ({"weights": [0] * 12}, "not all zero"),
        ({"weights": [1] * 11 + [np.inf]}, "weights must be finite"),
        ({"method": "majority", "weights": [1, 2]}, "weights has shape \\(2,\\)"),
        ({"method": "majority", "weights": [1] * 11 + [-1]}, "weights must be finite"),
    ],
)
def test_wrong_settings_are_reported_in_one_line(cells, settings, words):
    with pytest.raises((InputError, ConfigError), match=words) as caught:
        fuse(cells, **settings)
    assert "\n" not in str(caught.value)


@every_method
@settings(max_examples=10, deadline=None)
@given(masks=st.lists(images, min_size=1, max_size=4), seed=st.integers(0, 99))
def test_a_stack_from_disk_is_as_good_as_its_label_images(method, masks, seed):
    weights = np.random.default_rng(seed).choice([0.5, 1.0, np.pi], len(masks)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        for weight in (None, weights):
            LabelStack.of(masks, weight).save(f"{folder}/stack.npz")
            same(
                fuse(LabelStack.load(f"{folder}/stack.npz"), method=method), fuse(masks, weights=weight, method=method)
            )
    new_weights = LabelStack.of(masks, weights)
    same(fuse(new_weights, weights=[1] * len(masks), method=method), fuse(masks, method=method))


def test_masks_of_two_shapes_are_refused(cells):
    with pytest.raises(InputError, match=r"mask 1 has shape \(72, 71\) but mask 0 has shape \(72, 72\)"):
        fuse([cells[0], cells[1][:, 1:]])
