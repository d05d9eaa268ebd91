import numpy as np
import pytest
import torch

from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.informative import draw_batch, structure
from divseg.denoise.training.settings import TrainSettings
from divseg.errors import ConfigError


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (128, 128)).astype(np.float32)
    image[:32, :32] += 50  # one bright corner in an empty image
    return TrainingData([image], 32, 4, held_out=False)


def test_chosen_crops_hold_more_structure(data):
    even = structure(draw_batch(data, 200, np.random.default_rng(1), 0.0)).mean()
    chosen = structure(draw_batch(data, 200, np.random.default_rng(1), 1.0)).mean()
    assert chosen > 1.5 * even


def test_shape_and_share_of_even_crops(data):
    batch = draw_batch(data, 4, np.random.default_rng(2), 0.5)
    assert batch.shape == (4, 1, 32, 32)
    plain = data.batch(2 + 2 * 4, np.random.default_rng(2))[:2]
    torch.testing.assert_close(batch[:2], plain)


def test_structure_is_blind_to_pixel_noise_and_knows_volumes():
    flat = torch.zeros(1, 2, 32, 32)
    assert structure(flat).item() == 0
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 64, 64)))
    assert structure(noise).item() < 0.2
    assert structure(torch.zeros(3, 1, 4, 16, 16)).shape == (3,)


def test_a_share_is_between_0_and_1():
    with pytest.raises(ConfigError, match="informative=2"):
        TrainSettings(informative=2)
