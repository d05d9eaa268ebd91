import re
import warnings

import numpy as np
import pytest

from divseg.errors import DivsegWarning, FileProblem, InputError
from divseg.io import check_inputs, read


@pytest.fixture
def volume(save):
    """Return a Fiji hyperstack T, Z, C, Y, X and its pixels."""
    metadata = {"axes": "TZCYX", "unit": "um", "spacing": 0.5, "finterval": 30.0}
    return save("m.tif", (2, 3, 2, 8, 9), imagej=True, resolution=(10, 10), metadata=metadata)


def test_a_volume_keeps_its_spacing(volume):
    path, data = volume
    images = read(path, channel=1, depth="volume")
    assert images.names == ["m_t0", "m_t1"]
    np.testing.assert_array_equal(images[1].data, data[1, :, 1])
    assert images[0].pixel_size.z == 0.5


def test_each_plane_is_an_image(volume):
    path, data = volume
    images = read(path, channel=0, depth="planes")
    assert images.names == [f"m_t{t}_z{z}" for t in range(2) for z in range(3)]
    assert images[4].plane == (("T", 1), ("Z", 1))
    np.testing.assert_array_equal(images[4].data, data[1, 1, 0])
    assert images[4].pixel_size.z is None


@pytest.mark.parametrize(("how", "function"), [("max", np.max), ("mean", np.mean), ("sum", np.sum)])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_projections(save, how, function, options):
    path, data = save("v.tif", (3, 8, 9), ome=True, metadata={"axes": "ZYX"}, **options)
    images = read(path, depth=how)
    want = function(data.astype(np.float64), axis=0)
    image = images[0]
    assert (image.axes, image.shape, images.refs[0].dtype) == ("YX", (8, 9), image.dtype)
    assert image.dtype == (np.uint16 if how == "max" else np.float32)
    np.testing.assert_allclose(image.data, want, rtol=1e-6)
    part = images.refs[0].load((slice(2, 5), slice(1, 9, 2)))
    np.testing.assert_allclose(part.data, want[2:5, 1:9:2], rtol=1e-6)


def test_commands_ask_what_depth_means(volume):
    with pytest.raises(
        InputError, match=r"m\.tif: it has 3 planes along Z; give --volume .* --planes .* --project max"
    ):
        check_inputs(volume[0], channel=0)
    assert check_inputs(volume[0], channel=0, ask=()).images[0].axes == "ZYX"
    with pytest.raises(InputError, match="give --planes to work on each plane, or --project max"):
        check_inputs(volume[0], channel=0, ask=("planes", "project"))


@pytest.mark.parametrize("depth", ["volume", "max"])
def test_no_depth_where_it_is_asked_for(save, depth):
    flag = "--volume" if depth == "volume" else "--project max"
    path, _ = save("one.tif", (1, 8, 9), ome=True, metadata={"axes": "ZYX"})
    with pytest.raises(FileProblem, match=f"one plane, no depth; leave {flag} out"):
        read(path, depth=depth)
    path, data = save("time.tif", (4, 8, 9), imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(FileProblem, match="give --axes ZYX if its frames are depth"):
        read(path, depth=depth)
    path, data = save("plain.tif", (4, 8, 9))
    with pytest.raises(FileProblem, match=r"does not say that the 4 planes .* are depth") as caught:
        read(path, depth=depth)
    axes = re.search("--axes ([A-Z]+)", str(caught.value))[1]
    want = data if depth == "volume" else data.max(axis=0)
    np.testing.assert_array_equal(read(path, axes=axes, depth=depth)[0].data, want)


def test_planes_of_a_stack_that_does_not_say_what_it_is(save):
    path, _ = save("plain.tif", (4, 8, 9))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DivsegWarning)
        assert read(path, depth="planes").names[3] == "plain_p3"


def test_unknown_depth(save):
    with pytest.raises(InputError, match="depth 'deep': give one of volume, planes, max"):
        read(save("a.tif")[0], depth="deep")


def test_what_was_understood(volume):
    report = check_inputs(volume[0], channel="1", depth="max")
    words = "axes TZCYX of 2 x 3 x 2 x 8 x 9, channel 1 of 0, 1, 2 frames every 30 s, max of the planes along Z"
    assert f"{volume[0]}: {words}" in report.lines()
