import numpy as np
import pytest
import torch

from divseg.device import to_host as module
from divseg.device.to_host import batches_to_host, to_host


def batches(device, shapes=((3, 5, 7), (2, 5, 7), (1, 40, 50))):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(device) for shape in shapes]


def test_batches_become_arrays_in_order():
    drawn = batches("cpu")
    arrays = list(batches_to_host(iter(drawn)))
    assert [a.dtype for a in arrays] == [np.float32] * 3
    for array, batch in zip(arrays, drawn, strict=True):
        np.testing.assert_array_equal(array, batch.numpy())


def test_arrays_are_written_where_wanted():
    out = np.zeros((4, 5, 7), np.float32)
    first, second = batches("cpu")[:2]
    assert to_host(first, out[:3]).base is out
    assert [a is not None for a in batches_to_host([second[:1]], iter([out[3:]]))] == [True]
    np.testing.assert_array_equal(out, np.concatenate([first.numpy(), second[:1].numpy()]))


def test_on_a_cpu_nothing_is_drawn_ahead():
    asked = []

    def drawing():
        for k, batch in enumerate(batches("cpu")):
            asked.append(k)
            yield batch

    copied = batches_to_host(drawing())
    next(copied)
    assert asked == [0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("piece", [4, 64, 2**24])
def test_pieces_from_a_gpu(monkeypatch, piece):
    monkeypatch.setattr(module, "PIECE", piece)
    drawn = batches("cuda", ((3, 5, 7), (2, 4, 6), (1, 8, 9)))
    for array, batch in zip(batches_to_host(iter(drawn)), drawn, strict=True):
        np.testing.assert_array_equal(array, batch.cpu().numpy())
    np.testing.assert_array_equal(to_host(drawn[0].mT), drawn[0].mT.cpu().numpy())
