import numpy as np
import pytest

from divseg.io import PixelSize
from divseg.metrics.measurements import measure_objects
from divseg.metrics.shape_3d import measure_volume


@pytest.fixture
def box():
    """Return labels with a box of 2 x 3 x 4 voxels, and one of a single voxel."""
    labels = np.zeros((8, 20, 22), np.uint16)
    labels[2:4, 5:8, 6:10] = 1
    labels[6, 15, 15] = 3
    return labels


def test_against_a_calculation_by_hand(box):
    table = measure_objects(box, box[None].astype(float), pixel_size=PixelSize(0.2, 0.1, 0.5))
    assert table["label"].tolist() == [1, 3]
    first = table.iloc[0]
    assert (first["volume"], first["extent"]) == (24, 1.0)
    assert first["volume_um3"] == pytest.approx(24 * 0.5 * 0.2 * 0.1)
    assert first["equivalent_diameter_um"] == pytest.approx((6 * 0.24 / np.pi) ** (1 / 3))
    assert (first["centroid_z_um"], first["centroid_y_um"], first["centroid_x_um"]) == pytest.approx((1.25, 1.2, 0.75))
    # variance of n equal steps: (n^2 - 1) / 12
    lengths = sorted(2 * np.sqrt(5 * (n**2 - 1) / 12) * step for n, step in ((2, 0.5), (3, 0.2), (4, 0.1)))
    measured = [first[f"axis_{which}_um"] for which in ("minor", "middle", "major")]
    np.testing.assert_allclose(measured, lengths)
    assert table["axis_major_um"].iloc[1] == 0


def test_a_ball_has_its_diameter_along_all_axes():
    z, y, x = np.ogrid[:30, :60, :60]
    ball = ((2 * (z - 15)) ** 2 + (y - 30) ** 2 + (x - 30) ** 2 <= 20**2).astype(int)
    columns = measure_volume(ball, 1, PixelSize(0.1, 0.1, 0.2))
    for name in ("equivalent_diameter", "axis_major", "axis_middle", "axis_minor"):
        assert columns[name][0] == pytest.approx(40, rel=0.03)
        assert columns[f"{name}_um"][0] == pytest.approx(4.0, rel=0.03)
    flat = measure_volume(ball, 1)
    assert flat["axis_minor"][0] == pytest.approx(20, rel=0.03)
    assert not any(name.endswith("_um") for name in flat)


def test_without_objects():
    table = measure_objects(np.zeros((3, 4, 5), int), np.zeros((1, 3, 4, 5)), pixel_size=PixelSize(1, 1, 1))
    assert len(table) == 0
    assert "volume_um3" in table


def test_the_background_is_as_far_along_z_as_along_y():
    labels = np.zeros((21, 41, 41), int)
    labels[10, 20, 20] = 1
    image = np.zeros(labels.shape)
    image[12:14] = 100.0  # two and three planes away: 8 and 12 pixels
    near, far = (
        measure_objects(labels, image[None], pixel_size=PixelSize(1, 1, z))["raw_background"][0] for z in (1.0, 4.0)
    )
    assert near > 10
    assert far == 0
