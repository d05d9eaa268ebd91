"""What a GPU does, done on a CPU: several images in a batch, few waits for the device, little memory."""

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from divseg.errors import InputError
from divseg.segment.stardist import normalise


@pytest.fixture
def segment(models, monkeypatch):
    """A segmenter whose percentiles are sorted on the device, with some options more."""
    import divseg

    monkeypatch.setattr(normalise, "NUMPY_ON", ())
    return lambda *options: divseg.segmenter(models.spec("unet2d", "threads=0", *options))


@pytest.fixture(scope="module")
def stack(models):
    image = models.expected("unet2d")["image"]
    rng = np.random.default_rng(3)
    return np.stack([image + rng.normal(0, 0.1, image.shape).astype(np.float32) for _ in range(6)])


class Fetches(TorchFunctionMode):
    """Count what makes the host wait for a device: tensors and numbers that it asks for."""

    asks = (torch.Tensor.cpu, torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__bool__, torch.Tensor.__int__)

    def __init__(self):
        super().__init__()
        self.count = self.values = 0

    def __torch_function__(self, f, types, args=(), kwargs=None):
        if f in self.asks:
            self.count += 1
            self.values += args[0].numel()
        return f(*args, **(kwargs or {}))


class Sizes(TorchDispatchMode):
    """Count operations whose result has a size that the device must tell first."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        masked = f is torch.ops.aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])
        self.count += f in (torch.ops.aten.nonzero.default, torch.ops.aten._local_scalar_dense.default) or masked
        return f(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [(), ("normalize=none",), ("scale=0.7",), ("normalize=image",)])
def test_three_waits_for_a_batch_whatever_its_size(segment, stack, options):
    for count in (1, 6):
        made = segment(f"batch={count}", *options).fit(stack[0])
        (numbered,) = made._batches(iter([(0, torch.from_numpy(stack[:count]))]))
        with Fetches() as fetches, Sizes() as sizes:
            jobs = made._predict(numbered)
        assert fetches.count + sizes.count == 3
        found = sum(len(job.prob) for job in jobs)
        assert found > 100 * count
        # candidates and a few numbers for each image, not the maps
        assert fetches.values <= found * (1 + made.config.n_rays + 3) + 9 * count


@pytest.mark.parametrize("options", [(), ("scale=0.7",)])
def test_a_batch_gives_what_its_images_give(segment, stack, options):
    alone = list(segment("batch=1", *options)(stack))
    assert len({labels.tobytes() for labels in alone}) == 6
    for size in (4, 6):
        for one, many in zip(alone, segment(f"batch={size}", *options)(stack), strict=True):
            np.testing.assert_array_equal(one, many)
            np.testing.assert_allclose(one.prob, many.prob, atol=1e-6)


def test_pixels_that_are_not_finite_name_their_image(segment, stack):
    bad = stack.copy()
    bad[4, 3, 3] = bad[4, 5, 5] = np.nan
    for options in ((), ("normalize=none",)):
        with pytest.raises(InputError, match=r"image 4 \(counted from 0\) has 2 pixels that are NaN or infinite"):
            list(segment("batch=6", *options)(bad))


class Cramped(TorchDispatchMode):
    """A device on which a convolution of more than so many pixels runs out of memory."""

    def __init__(self, pixels):
        super().__init__()
        self.pixels, self.failures = pixels, 0

    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        if f is torch.ops.aten.conv2d.default and args[0][:, 0].numel() > self.pixels:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return f(*args, **(kwargs or {}))


def test_fewer_images_where_memory_runs_out(segment, stack):
    alone = list(segment("batch=1")(stack))
    made = segment("batch=6")
    with Cramped(2 * stack[0].size) as device:
        for _ in range(2):
            for one, many in zip(alone, made(stack), strict=True):
                np.testing.assert_array_equal(one, many)
    assert device.failures == 2  # with 6 and with 3 images, and not again


def test_smaller_tiles_where_one_image_is_too_much(segment, stack):
    image = np.tile(stack[0], (8, 5))[:300, :300]
    whole = segment("tile=64")(image)
    made = segment()
    with Cramped(200**2) as device:
        np.testing.assert_array_equal(made(image), whole)
        tried = device.failures
        np.testing.assert_array_equal(made(image), whole)
    assert device.failures == tried > 0
    with Cramped(60**2), pytest.raises(InputError, match=r"memory ran out while StarDist's network worked on image 0"):
        made(image)


def test_other_errors_are_not_taken_for_memory(segment, stack):
    made = segment()
    made._network().prob.weight.data = torch.zeros(1, 3, 1, 1)
    with pytest.raises(RuntimeError, match="size"):
        made(stack[0])
