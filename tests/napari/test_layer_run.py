import numpy as np
import pytest

from divseg import open_run
from divseg.errors import InputError
from divseg.io import PixelSize, read
from divseg.napari.layer_run import LayerRun, Progress, layer_pixel_size, model_folder, results

QUICK = {"network": "flat,filters=8,latents=8", "train_steps": 12, "samples": 2, "simulate": 0, "segmenter": "otsu"}
QUICK |= {"report": False}


def noisy(shape=(64, 64), seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape[-2:])
    disc = (y - 30) ** 2 + (x - 30) ** 2 < 200
    return (np.where(disc, 200, 100) + rng.normal(0, 10, shape)).astype(np.uint16)


def test_a_run_gives_layers_and_its_model_is_used_again(tmp_path):
    told = []
    size = PixelSize(0.5, 0.5, unit="µm")
    work = LayerRun(noisy(), "my/layer 1", tmp_path / "a", size, settings=QUICK)
    layers = work.do(Progress(lambda text, fraction: told.append((text, fraction))))
    image = read(tmp_path / "a" / "images" / "my_layer_1.tif")[0]
    np.testing.assert_array_equal(image.data, noisy())
    assert image.data.dtype == np.uint16
    assert image.pixel_size == size
    assert [keywords["name"].split(" [")[0] for _, keywords, _ in layers] == ["MMSE", "standard deviation", "labels"]
    assert layers[0][1]["scale"] == [0.5, 0.5]
    fractions = [fraction for _, fraction in told if fraction is not None]
    assert min(fractions) >= 0
    assert max(fractions) == 1
    assert any(text.startswith("training") for text, _ in told)

    stack = LayerRun(noisy((2, 64, 64)), "movie", tmp_path / "b", model=tmp_path / "a" / "run", settings=QUICK)
    told.clear()
    layers = stack.do(Progress(lambda text, fraction: told.append((text, fraction))))
    assert [data.shape for data, *_ in layers] == [(2, 64, 64), (2, 64, 64)]
    assert [keywords["name"] for _, keywords, _ in layers] == ["MMSE [run]", "labels [run]"]
    assert not any(text.startswith("training ") for text, _ in told)


def test_cancelling_ends_it_and_the_same_run_goes_on(tmp_path):
    work = LayerRun(noisy(), "a", tmp_path, settings=QUICK)
    progress = Progress(lambda text, fraction: progress.cancel() if text.startswith("training ") else None)
    assert work.do(progress) is None
    assert not (tmp_path / "run" / "labels").exists()
    layers = work.do(Progress(lambda text, fraction: None))
    assert layers[-1][2] == "labels"


@pytest.mark.parametrize("pixels", [np.zeros(5), np.zeros((2, 2, 4, 4)), np.zeros((4, 4), complex)])
def test_pixels_that_are_no_image_are_refused(pixels, tmp_path):
    with pytest.raises(InputError, match="layer 'a'"):
        LayerRun(pixels, "a", tmp_path)


def test_a_folder_with_other_images_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.tif").touch()
    with pytest.raises(InputError, match=r"mine\.tif: .* choose a new folder"):
        LayerRun(noisy(), "a", tmp_path, settings=QUICK).do(Progress(lambda *_: None))


def test_an_image_that_is_not_in_the_run_is_told(fused):
    with pytest.raises(InputError, match="lost: it was not finished"):
        results(open_run(fused), ["field0", "lost"], stack=True)


@pytest.mark.parametrize(
    ("scale", "units", "size"),
    [
        ((0.5, 0.25), ("micrometer", "micrometer"), PixelSize(0.5, 0.25, unit="µm")),
        ((3, 100, 100), ("second", "nanometer", "nanometer"), PixelSize(0.1, 0.1, unit="µm")),
        ((0.5, 0.5), ("pixel", "pixel"), None),
    ],
)
def test_pixel_size_of_a_layer(scale, units, size):
    found = layer_pixel_size(scale, units)
    assert (found is None) == (size is None)
    if size is not None:
        np.testing.assert_allclose((found.y, found.x), (size.y, size.x))
        assert found.unit == size.unit


def test_a_run_folder_stands_for_its_model(tmp_path):
    assert model_folder(tmp_path) == tmp_path
    (tmp_path / "model").mkdir()
    assert model_folder(tmp_path) == tmp_path / "model"
