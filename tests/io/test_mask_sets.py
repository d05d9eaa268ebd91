import numpy as np
import pytest

from divseg.errors import InputError
from divseg.io import find_mask_sets


def shapes(sets):
    return {s.name: ([mask.shape for mask in s.masks], s.sources) for s in sets.sets}


def test_files_with_many_planes_are_stacks(save, tmp_path):
    _, data = save("a.tif", (3, 8, 9), "uint8")
    save("b.tif", (2, 4, 8, 9), "uint8")
    sets = find_mask_sets(tmp_path / "images")
    assert sets.layout == "stacks"
    assert shapes(sets) == {"a": ([(8, 9)] * 3, ("0", "1", "2")), "b": ([(4, 8, 9)] * 2, ("0", "1"))}
    np.testing.assert_array_equal(sets.sets[0].masks[2].load(), data[2])


def test_equal_names_in_subfolders_are_of_raters_and_others_of_images(save, tmp_path):
    for rater, names in {"anna": ("t2", "t10"), "bert": ("t2",)}.items():
        for name in names:
            save(f"{name}.tif", (8, 9), "uint8", folder=f"raters/{rater}")
            save(f"{name}_{rater}.tif", (8, 9), "uint8", folder=f"images/{rater}")
    raters = find_mask_sets(tmp_path / "raters")
    assert (raters.layout, raters.raters) == ("raters", ("anna", "bert"))
    assert [(s.name, s.sources, s.missing) for s in raters.sets] == [
        ("t2", ("anna", "bert"), ()),
        ("t10", ("anna",), ("bert",)),
    ]
    images = find_mask_sets(tmp_path / "images")
    assert images.layout == "images"
    assert [(s.name, s.sources) for s in images.sets] == [("anna", ("t2_anna", "t10_anna")), ("bert", ("t2_bert",))]
    assert find_mask_sets(tmp_path / "images", skip=[tmp_path / "images" / "bert"]).layout == "images"


def test_single_planes_are_volumes_of_one_plane_if_3_d_is_wanted(save, tmp_path):
    _, flat = save("one.tif", (8, 9), "uint8", folder="masks/a")
    save("two.tif", (1, 8, 9), "uint8", folder="masks/a")
    masks = find_mask_sets(tmp_path / "masks", ndim=3, layout="images").sets[0].masks
    assert [mask.shape for mask in masks] == [(1, 8, 9)] * 2
    np.testing.assert_array_equal(masks[0].load(), flat[None])


def test_label_images_of_one_image_have_one_shape(save, tmp_path):
    save("one.tif", (8, 9), "uint8", folder="masks/a")
    save("two.tif", (9, 8), "uint8", folder="masks/a")
    sets = find_mask_sets(tmp_path / "masks")
    assert not sets.sets
    assert [(name, "must show the same pixels" in problem.remedy) for name, problem in sets.problems] == [("a", True)]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layout": "stacks"}, "there are no stacks"), ({"layout": "piles"}, "unknown layout"), ({"ndim": 4}, "ndim=4")],
)
def test_what_cannot_be_found(save, tmp_path, options, message):
    save("one.tif", (8, 9), "uint8", folder="masks/a")
    with pytest.raises(InputError, match=message):
        find_mask_sets(tmp_path / "masks", **options)
