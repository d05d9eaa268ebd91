import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch

import divseg
from divseg.errors import ConfigError, DivsegWarning, InputError, ModelError
from divseg.io import Image
from divseg.segment import Segmenter


@pytest.fixture(scope="module")
def make(models):
    def make(name="unet2d", *options):
        return divseg.segmenter(models.spec(name, *options))

    return make


@pytest.fixture(scope="module")
def image(models):
    return models.expected("unet2d")["image"]


def test_a_name_and_its_options(make, models):
    made = make("unet2d", "NMS=0.30", "prob=0.5", "tile=auto", "processes=0")
    assert isinstance(made, Segmenter)
    assert made.name == f"stardist:{models.folder / 'unet2d'},prob=0.5,nms=0.3,device=cpu,processes=0"
    assert divseg.segmenter(made.name).name == made.name
    assert made.halo == 10
    assert (made.thresholds.prob, made.thresholds.nms) == (0.5, 0.3)
    assert make("unet2d").thresholds.prob == pytest.approx(0.4978957772254944)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("prob=1.5", "prob must be model or a number"),
        ("nsm=0.3", "did you mean 'nms'"),
        ("device=gpu", "device must be auto, cpu, cuda"),
        ("processes=-1", "processes must be auto or an integer"),
        ("pmin=99,pmax=2", "pmin must be below"),
        ("normalize=none,pmin=2", "pmin has no effect with normalize=none"),
        ("tile=3", "tile must be auto or an integer not below 64"),
    ],
)
def test_impossible_options(models, options, words):
    with pytest.raises(ConfigError, match=words):
        divseg.segmenter(f"stardist:{models.folder / 'unet2d'},{options}")


def test_models_that_are_not_there(models, tmp_path):
    for nameless in ("stardist", "stardist:"):
        with pytest.raises(ConfigError, match="write stardist:NAME_OR_FOLDER"):
            divseg.segmenter(nameless)
    with pytest.raises(ModelError):
        divseg.segmenter("stardist:2D_versatile_flou")
    folder = tmp_path / "m"
    shutil.copytree(models.folder / "unet2d", folder)
    (folder / "weights_best.h5").unlink()
    with pytest.raises(ModelError, match="has no weights"):
        divseg.segmenter(f"stardist:{folder}")
    (folder / "thresholds.json").unlink()
    shutil.copy(models.folder / "unet2d" / "weights_best.h5", folder / "weights_last.h5")
    with pytest.warns(DivsegWarning, match="no thresholds.json: taking StarDist's defaults"):
        made = divseg.segmenter(f"stardist:{folder},nms=0.35")
    assert (made.thresholds.prob, made.thresholds.nms) == (0.5, 0.35)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is missing where both are given
        divseg.segmenter(f"stardist:{folder},nms=0.35,prob=0.5")


def test_classes_are_left_out_with_a_notice(models, tmp_path, image):
    """Weights of a multi-class head beside the others change nothing."""
    import h5py

    folder = tmp_path / "m"
    shutil.copytree(models.folder / "unet2d", folder)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"n_classes": null', '"n_classes": 2'))
    with h5py.File(folder / "weights_best.h5", "r+") as file:
        names = [*file.attrs["layer_names"], "features_class", "prob_class"]
        file.attrs["layer_names"] = np.array(names, "S")
        for name, shape in (("features_class", (3, 3, 6, 16)), ("prob_class", (1, 1, 16, 3))):
            file.create_group(name).attrs["weight_names"] = [b"kernel", b"bias"]
            file[name]["kernel"], file[name]["bias"] = np.ones(shape), np.ones(shape[-1])
    with pytest.warns(DivsegWarning, match="tells 2 classes of objects; divseg finds the objects and leaves"):
        made = divseg.segmenter(f"stardist:{folder},device=cpu,normalize=none")
    np.testing.assert_array_equal(made(image), models.expected("unet2d")["labels"])


def test_whatever_holds_images(make, image, models):
    segment = make("unet2d", "normalize=none")
    want = models.expected("unet2d")["labels"]
    stack = np.stack([image] * 3)
    holders = [
        stack,
        torch.from_numpy(stack),
        list(stack),
        [stack[:2], torch.from_numpy(stack[2])],
        (Image(im, "YX", "a") for im in stack),
        stack.astype(">f4"),
        np.asfortranarray(stack[:, ::-1])[:, ::-1],
    ]
    for held in holders:
        results = segment(held)
        assert not isinstance(results, np.ndarray)
        results = list(results)
        assert len(results) == 3
        for labels in results:
            assert labels.dtype == np.int32
            np.testing.assert_array_equal(labels, want)
    frozen = image.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(segment(frozen), want)


def test_a_stream_is_taken_as_it_is_needed(make, image):
    taken = []

    def stream():
        for k in range(5):
            taken.append(k)
            yield np.stack([image] * 2)

    results = make("unet2d", "processes=0")(stream())
    assert taken == []
    next(results), next(results)
    assert taken == [0]
    next(results)
    assert taken == [0, 1]


def test_channels(make, models):
    want = models.expected("channels2")
    segment = make("channels2", "normalize=none")
    pair = want["image"]
    held = Image(np.moveaxis(pair, -1, 0), "CYX", "pair")
    np.testing.assert_array_equal(segment(held), want["labels"])
    np.testing.assert_array_equal(next(segment([torch.from_numpy(pair)])), want["labels"])
    for wrong in (pair[..., 0], pair[..., [0]], np.zeros((4, 20, 20))):
        with pytest.raises(InputError, match=r"2D StarDist model of 2 channels takes \(Y, X, 2\), the channels last"):
            segment(wrong)
    with pytest.raises(InputError, match="axes YX; this 2D StarDist model of 2 channel"):
        segment(Image(pair[..., 0], "YX", "a"))
    assert make("channels2").config.divisor == (4, 4)
    make("channels2", "channels=joint")(pair)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((2, 3, 20, 20)), r"shape \(2, 3, 20, 20\) is neither one image \(Y, X\) of a 2D StarDist model"),
        (np.zeros(7), "neither one image"),
        (np.zeros((0, 5)), "no pixels"),
        (np.zeros((8, 8), complex), "must be real"),
        (np.array([["a", "b"]]), "must be real"),
        ("cells.tif", "cannot segment str"),
        ({"a": 1}, "cannot segment dict"),
        (3, "cannot segment int"),
        (np.full((9, 9), np.nan), r"image 0 \(counted from 0\) has 81 pixels that are NaN or infinite"),
    ],
)
def test_what_holds_no_images(make, wrong, words):
    with pytest.raises(InputError, match=words):
        make("unet2d")(wrong)


def test_which_image_of_a_stream_is_wrong(make, image):
    bad = np.stack([image, image])
    bad[1, 0, 0] = np.inf
    results = make("unet2d")([image, bad])
    next(results)
    with pytest.raises(InputError, match=r"image 2 \(counted from 0\) has 1 pixels"):
        list(results)
    with pytest.raises(InputError, match=r"image 0 .* is a str"):
        list(make("unet2d")(["a"]))
    with pytest.raises(InputError, match=r"volume: axes ZYX; this 2D StarDist model"):
        make("unet2d")(Image(np.zeros((2, 9, 9)), "ZYX", "volume"))
    with pytest.raises(InputError, match=r"neither one image \(Z, Y, X\)"):
        make("unet3d")(image)


@pytest.mark.parametrize("name", ["unet2d", "unet3d"])
def test_images_without_objects(make, name):
    shape = (20, 33) if name == "unet2d" else (6, 20, 33)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = make(name, "prob=0.99").details(np.full(shape, 7, np.uint16))
    assert found.labels.shape == shape
    assert not found.labels.any()
    assert found.labels.dtype == np.int32
    assert len(found.table) == len(found.prob) == 0
    assert make("unet2d", "prob=0.99")(np.ones((1, 1))).shape == (1, 1)


def test_almost_flat_images_are_told(make):
    image = np.zeros((100, 100))
    image[3, 3] = 1
    with pytest.warns(DivsegWarning, match=r"image 0 .*percentiles 1 and 99.8 are equal"):
        make("unet2d")(image)


def test_objects_and_their_table(make, models):
    for name in ("unet2d", "resnet3d"):
        want = models.expected(name)
        found = make(name, "normalize=none").details(want["image"])
        table = found.table
        assert list(table.columns) == ["label", "prob", *["z", "y", "x"][-found.points.shape[1] :]]
        assert (table.prob.diff().dropna() <= 0).all()
        assert found.dist.shape == (len(table), make(name).config.n_rays)
        inside = found.labels[tuple(found.points.T)]
        assert (inside == table.label).mean() > 0.8  # a point lies in its object, unless a better one covers it


def test_percentiles_of_a_reference(make, image):
    segment = make("unet2d", "normalize=image")
    with pytest.raises(ConfigError, match="call fit"):
        segment(image)
    fitted = segment.fit(image)
    assert fitted is not segment
    dim = (image * 0.5).astype(np.float32)
    own = make("unet2d")
    np.testing.assert_array_equal(fitted(image), own(image))
    np.testing.assert_array_equal(own(dim), own(image))
    assert not np.array_equal(fitted(dim), fitted(image))
    assert own.fit(image) is own
    travelled = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(travelled(dim), fitted(dim))


def test_normalisation_takes_offset_and_gain_away(make, image):
    segment = make("unet2d")
    np.testing.assert_array_equal(segment(image * 300 + 1000), segment(image * 300))
    counts = np.round(image * 200).astype(np.uint16)
    np.testing.assert_array_equal(segment(counts), segment(counts.astype(np.uint8)))


def test_too_many_candidates(make, image):
    every = make("unet2d", "prob=0.01", "normalize=none")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = every(image)
    few = make("unet2d", "prob=0.01", "normalize=none", "max_candidates=200")
    with pytest.warns(DivsegWarning, match=r"image 0 .*grid pixels are object candidates; kept the 200 most probable"):
        capped = few(image)
    # the most probable candidates are those that win
    assert 0 < capped.max() < labels.max()
    assert ((capped > 0) & (labels > 0)).sum() > 0.9 * (capped > 0).sum()
