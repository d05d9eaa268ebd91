import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divseg.errors import InputError
from divseg.io.axes import check_axes, plan_planes
from divseg.io.channels import check_channel


@pytest.mark.parametrize("axes", ["", "Y", "YY", "TZ", "QYX", "YXYX", "IYX", "ABYX", "YX "])
def test_wrong_axes_of_the_user(axes):
    with pytest.raises(InputError, match="--axes TYX") as caught:
        check_axes(axes)
    assert repr(axes) in str(caught.value)


def test_small_letters():
    assert check_axes("tzyx") == "TZYX"


@pytest.mark.parametrize("channel", [-1, 1.5, "", "-1"])
def test_wrong_channel(channel):
    with pytest.raises(InputError, match="counted from 0"):
        check_channel(channel)
    assert check_channel(np.int64(2)) == 2


@given(st.permutations("STCZYX"), st.lists(st.integers(1, 3), min_size=6, max_size=6))
def test_planes_cover_the_file_once(axes, shape):
    data = np.arange(np.prod(shape)).reshape(shape)
    planes = plan_planes("f", "".join(axes), tuple(shape), channel=0)
    taken = [data[tuple(slice(None) if i is None else i for i in plane.index)] for plane in planes]
    assert all(part.ndim == len(plane.axes) for part, plane in zip(taken, planes, strict=True))
    want = np.take(data, 0, axis=axes.index("C"))
    np.testing.assert_array_equal(np.sort(np.concatenate([p.ravel() for p in taken])), np.sort(want.ravel()))
    names = [plane.suffix for plane in planes]
    assert len(set(names)) == len(names)
    if len(planes) == 1:
        assert names == [""]
