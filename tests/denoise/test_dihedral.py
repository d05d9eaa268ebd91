import numpy as np
import pytest
import torch

from divseg.denoise.dihedral import COUNT, transform, undo


@pytest.mark.parametrize("index", range(COUNT))
@pytest.mark.parametrize("shape", [(5, 7), (2, 4, 6)])
def test_undone(index, shape):
    image = np.arange(np.prod(shape)).reshape(shape)
    turned = torch.from_numpy(np.ascontiguousarray(transform(image, index)))
    assert np.array_equal(undo(turned, index).numpy(), image)


def test_eight_different_versions():
    image = np.arange(9).reshape(3, 3)
    assert len({transform(image, k).tobytes() for k in range(COUNT)}) == 8
