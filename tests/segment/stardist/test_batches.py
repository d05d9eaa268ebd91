import numpy as np
import pytest
import torch

import divseg
from divseg.segment.stardist.batches import in_batches
from divseg.segment.stream import ImageForm

PLANES = ImageForm(2, "this test")


def test_stacks_become_batches_with_the_number_of_their_first_image():
    stacks = iter([(0, np.zeros((3, 8, 9), np.uint8)), (3, torch.zeros(2, 8, 9))])
    batches = list(in_batches(stacks, PLANES, 2, torch.device("cpu"), 1))
    assert [(first, tuple(batch.shape)) for first, batch in batches] == [
        (0, (2, 1, 8, 9)),
        (2, (1, 1, 8, 9)),
        (3, (2, 1, 8, 9)),
    ]


@pytest.mark.parametrize(("max_pixels", "sizes"), [(1, [1] * 5), (150, [2, 2, 1]), (10**6, [5])])
def test_as_many_images_as_pixels_allow(max_pixels, sizes):
    stacks = iter([(0, np.zeros((5, 8, 9), np.float32))])
    batches = in_batches(stacks, PLANES, None, torch.device("cpu"), max_pixels)
    assert [len(batch) for _, batch in batches] == sizes


def test_channels_come_first():
    stack = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)
    ((_, batch),) = in_batches(iter([(0, stack)]), ImageForm(2, "this test", 3), 2, torch.device("cpu"), 1)
    np.testing.assert_array_equal(batch, np.moveaxis(stack, -1, 1))


def test_tensors_on_the_device_are_not_copied():
    stack = torch.rand(3, 8, 9)
    ((_, batch),) = in_batches(iter([(0, stack)]), PLANES, 3, torch.device("cpu"), 1)
    assert batch.data_ptr() == stack.data_ptr()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_tensors_on_a_gpu_stay_there(models):
    image = models.expected("unet2d")["image"]
    segment = divseg.segmenter(f"stardist:{models.folder / 'unet2d'},device=cuda,normalize=none,threads=0")
    samples = torch.from_numpy(np.stack([image] * 3)).cuda()
    ((_, batch),) = segment._batches(iter([(0, samples)]))
    assert batch.data_ptr() == samples.data_ptr()
    for labels in segment([samples[:2], samples[2]]):
        np.testing.assert_array_equal(labels, models.expected("unet2d")["labels"])
