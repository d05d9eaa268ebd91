import pickle
import shutil
import threading
import warnings

import numpy as np
import pytest
import torch
from csbdeep.utils import normalize
from stardist.data import test_image_nuclei_2d as bundled_image

import divseg
from divseg import evaluate, segmenter
from divseg.errors import ConfigError, DivsegWarning, InputError, ModelError
from divseg.io import Image
from divseg.labels import LabelImage
from divseg.segment import Segmenter
from divseg.segment.stardist import segmenter as module
from divseg.segment.stardist.segmenter import SCALES, best_scale

PLAIN = "stardist:nuclei,device=cpu,threads=0"


@pytest.fixture(scope="module")
def make(models):
    def make(name="unet2d", *options):
        return divseg.segmenter(models.spec(name, *options))

    return make


@pytest.fixture(scope="module")
def image(models):
    return models.expected("unet2d")["image"]


def test_a_name_and_its_options(make, models):
    made = make("unet2d", "NMS=0.30", "prob=0.5", "tile=auto", "threads=0")
    assert isinstance(made, Segmenter)
    assert made.name == f"stardist:{models.folder / 'unet2d'},prob=0.5,nms=0.3,device=cpu,threads=0"
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
        ("threads=-1", "threads must be auto or an integer"),
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
    with pytest.warns(DivsegWarning, match="is a model with 2 classes of objects; divseg finds the objects, but"):
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
            assert isinstance(labels, LabelImage)
            assert labels.dtype == np.int32
            np.testing.assert_array_equal(labels, want)
            np.testing.assert_allclose(labels.prob, models.expected("unet2d")["object_prob"], atol=1e-5)
    frozen = image.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(segment(frozen), want)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_stream_is_taken_as_it_is_needed(make, image):
    taken = []

    def stream():
        for k in range(5):
            taken.append(k)
            yield np.stack([image] * 2)

    results = make("unet2d", "threads=0")(stream())
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
        with pytest.raises(InputError, match=r"2-D StarDist model of 2 channels takes \(Y, X, 2\), the channels last"):
            segment(wrong)
    with pytest.raises(InputError, match="axes YX; this 2-D StarDist model of 2 channels takes CYX"):
        segment(Image(pair[..., 0], "YX", "a"))
    assert make("channels2").config.divisor == (4, 4)
    pair = pair * [1, 3]
    for options, axis in (((), (0, 1)), (("channels=joint",), None)):
        scaled = normalize(pair.astype(np.float32), 1, 99.8, axis=axis)
        np.testing.assert_array_equal(make("channels2", *options)(pair.astype(np.float32)), segment(scaled))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            np.zeros((2, 3, 20, 20)),
            r"\(2, 3, 20, 20\); this 2-D StarDist model of 1 channel takes one image \(Y, X\)",
        ),
        (np.zeros(7), "takes one image"),
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
    with pytest.raises(InputError, match=r"volume: axes ZYX; this 2-D StarDist model"):
        make("unet2d")(Image(np.zeros((2, 9, 9)), "ZYX", "volume"))
    with pytest.raises(InputError, match=r"takes one image \(Z, Y, X\)"):
        make("unet3d")(image)


@pytest.mark.parametrize("name", ["unet2d", "unet3d"])
def test_images_without_objects(make, name):
    shape = (20, 33) if name == "unet2d" else (6, 20, 33)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = make(name, "prob=0.99")(np.full(shape, 7, np.uint16))
    assert labels.shape == shape
    assert not labels.any()
    assert labels.dtype == np.int32
    assert labels.prob.shape == (0,)
    assert make("unet2d", "prob=0.99")(np.ones((1, 1))).shape == (1, 1)


def test_almost_flat_images_give_a_warning(make):
    image = np.zeros((100, 100))
    image[3, 3] = 1
    with pytest.warns(DivsegWarning, match=r"image 0 .*percentiles 1 and 99.8 are equal"):
        make("unet2d")(image)


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
    for wrong in (np.stack([image] * 2), [image]):
        with pytest.raises(InputError, match=r"the reference is .*; give one image \(Y, X\), for example the MMSE"):
            segment.fit(wrong)
    travelled = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(travelled(dim), fitted(dim))


def test_normalisation_is_that_of_csbdeep(make, image):
    counts = np.round(image * 200) ** 2 / 100
    for limits in ((1, 99.8), (4, 90)):
        options = [] if limits == (1, 99.8) else ["pmin=4", "pmax=90"]
        labels = make("unet2d", *options)(counts)
        expected = make("unet2d", "normalize=none")(normalize(counts, *limits))
        assert labels.max() > 1
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(labels.prob, expected.prob)


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
    with pytest.warns(DivsegWarning, match=r"image 0 .* are object candidates, .* kept the 200 most probable"):
        capped = few(image)
    # the most probable candidates are those that are not suppressed
    assert 0 < capped.max() < labels.max()
    assert ((capped > 0) & (labels > 0)).sum() > 0.9 * (capped > 0).sum()


@pytest.mark.usefixtures("two_threads")
def test_the_network_on_several_images_at_once(make, image):
    rng = np.random.default_rng(1)
    stack = np.stack([image + rng.normal(0, 0.1, image.shape).astype(np.float32) for _ in range(12)])
    alone = list(make("unet2d", "threads=0")(iter(stack)))
    assert len({labels.tobytes() for labels in alone}) > 6
    for options in ((), ("threads=3",)):
        for ours, theirs in zip(make("unet2d", *options)(stack), alone, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    segment = make("unet2d")
    left = segment(stack)
    next(left)
    left.close()
    seen = []  # a new thread begins with the number that was set last
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [torch.get_num_threads()] == [2]


@pytest.fixture(scope="module")
def picture():
    grey, truth = bundled_image(return_mask=True)
    return grey[:256, :320].astype(np.float32), truth[:256, :320]


def large(picture, factor):
    image, truth = picture
    return tuple(x.repeat(factor, 0).repeat(factor, 1) for x in (image, truth))


@pytest.mark.parametrize("factor", [5, 6])
def test_large_objects_are_found_as_if_they_were_small(picture, factor):
    small = evaluate(segmenter(PLAIN)(picture[0]), picture[1])
    image, truth = large(picture, factor)
    labels = segmenter(f"{PLAIN},scale={1 / factor}")(image)
    assert labels.shape == image.shape
    found = evaluate(labels, truth)
    assert found.ap50 > small.ap50 - 0.05  # one object of 42 more or less
    assert found.map > small.map - 0.05
    assert evaluate(segmenter(PLAIN)(image), truth).map < small.map - 0.2  # what the option is for


def test_small_objects_too(picture):
    image, truth = picture[0][::2, ::2], picture[1][::2, ::2]
    found = segmenter(f"{PLAIN},scale=2")(image)
    assert found.shape == image.shape
    assert evaluate(found, truth).ap50 > 0.6


def best_of(image):
    return best_scale(lambda scale: segmenter(f"{PLAIN},scale={scale}")(image).prob)


@pytest.mark.parametrize("factor", [1, 4])
def test_auto_finds_the_size_of_the_objects(picture, factor):
    part = tuple(x[:128, :160] for x in picture)
    image, truth = large(part, factor)
    found = segmenter(f"{PLAIN},scale=auto").fit(image)(image)
    assert evaluate(found, truth).map > evaluate(segmenter(PLAIN)(part[0]), part[1]).map - 0.05
    trials = [segmenter(f"{PLAIN},scale={scale}")(image) for scale in SCALES]
    best = max(trials, key=lambda trial: trial.prob.mean() if trial.prob.size else 0)
    np.testing.assert_array_equal(found, best)


def test_auto_keeps_the_scale_of_the_reference(picture):
    image = large((picture[0][:96, :96], picture[1]), 4)[0]
    fitted = segmenter(f"{PLAIN},scale=auto,normalize=image").fit(image)
    other = image[::4, ::4]  # small objects, which alone would want another scale
    same = segmenter(f"{PLAIN},scale={best_of(image)},normalize=image").fit(image)
    np.testing.assert_array_equal(fitted(other), same(other))
    assert best_of(other) > best_of(image)
    assert fitted.halo == same.halo


def test_fitted_again_it_keeps_the_scale_and_takes_new_percentiles(picture):
    image = large((picture[0][:96, :96], picture[1]), 4)[0]
    fitted = segmenter(f"{PLAIN},scale=auto").fit(image)
    assert fitted.fit(image[::4, ::4]) is fitted
    fitted = segmenter(f"{PLAIN},scale=auto,normalize=image").fit(image)
    bright = fitted.fit(2 * image + 5)
    np.testing.assert_array_equal(bright(2 * image + 5), fitted(image))
    assert not np.array_equal(fitted(2 * image + 5), fitted(image))
    other = fitted.fit(image[::4, ::4])
    assert other.halo == fitted.halo != segmenter(f"{PLAIN},scale=auto").fit(image[::4, ::4]).halo


def test_the_scale_is_looked_for_in_the_middle(picture, monkeypatch):
    monkeypatch.setattr(module, "_TRIAL_SIDE", 256)
    image = normalize(picture[0], 1, 99.8)
    middle = image[:64, :64].repeat(4, 0).repeat(4, 1)
    beyond = np.tile(image[::2, :256:2], (2, 1))
    auto = segmenter(f"{PLAIN},scale=auto,normalize=none")
    assert auto.fit(np.concatenate([beyond, middle, beyond], axis=1))._scale == auto.fit(middle)._scale == 0.5
    assert auto.fit(beyond)._scale == 2.0


def test_the_halo_grows_as_the_network_sees_a_smaller_image(make):
    assert [make("unet2d", f"scale={scale}").halo for scale in (1, 0.5, 2, "auto")] == [10, 20, 5, 40]


def test_auto_without_a_reference_says_what_to_do(picture):
    with pytest.raises(ConfigError, match=r"takes its scale from a reference image: call fit\(mmse\) first"):
        segmenter(f"{PLAIN},scale=auto")(picture[0])


def test_auto_where_nothing_is_found(picture):
    empty = np.full((96, 96), 7, np.float32)
    labels = segmenter(f"{PLAIN},scale=auto").fit(empty)(empty)
    assert labels.shape == empty.shape
    assert not labels.any()


def test_the_best_scale():
    def probabilities(scale):
        return {0.5: np.array([0.7, 0.8]), 1.4: np.array([0.9, 0.5, 0.6])}.get(scale, np.array([]))

    assert best_scale(probabilities) == 0.5
    assert best_scale(lambda scale: np.array([])) == 1.0


def test_threads_and_sides_that_do_not_divide(picture):
    image = picture[0][:201, :155]
    stack = np.stack([image] * 9)
    here = list(segmenter(f"{PLAIN},scale=0.7")(stack))
    beside = segmenter("stardist:nuclei,device=cpu,threads=2,scale=0.7")
    assert all(np.array_equal(a, b) for a, b in zip(here, beside(stack), strict=True))
    assert here[0].shape == image.shape


@pytest.mark.parametrize("value", ["0", "-1", "21", "half"])
def test_impossible_scales(value):
    with pytest.raises(ConfigError, match="scale"):
        segmenter(f"stardist:nuclei,scale={value}")


def test_volumes_are_refused(models):
    with pytest.raises(ConfigError, match="scale is for 2-D models"):
        segmenter(models.spec("unet3d", "scale=0.5"))
