import numpy as np
import pytest
import torch

import divseg
from divseg.segment.stardist.ahead import map_ahead


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_in_order_and_not_too_far_ahead():
    taken = []

    def items():
        for i in range(9):
            taken.append(i)
            yield i

    results = map_ahead(lambda i: (i, torch.get_num_threads()), items(), 2)
    assert taken == []
    assert next(results) == (0, 1)
    assert taken == [0, 1, 2]
    assert list(results) == [(i, 1) for i in range(1, 9)]
    assert torch.get_num_threads() == 2


def test_an_error_comes_where_its_item_does():
    def invert(i):
        return 1 / i

    results = map_ahead(invert, [1, 2, 0, 4], 2)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    left = map_ahead(invert, iter([1, 2, 3, 4, 5]), 2)
    next(left)
    left.close()
    assert torch.get_num_threads() == 2


def test_the_network_on_several_images_at_once(models):
    image = models.expected("unet2d")["image"]
    rng = np.random.default_rng(1)
    stack = np.stack([image + rng.normal(0, 0.1, image.shape).astype(np.float32) for _ in range(12)])
    alone = list(divseg.segmenter(models.spec("unet2d", "processes=0"))(stack))
    with divseg.segmenter(models.spec("unet2d", "processes=1")) as segment:
        for ours, theirs in zip(segment(stack), alone, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_an_error_of_the_items_comes_after_the_results_before_it():
    def items():
        yield 0
        yield 1
        raise ValueError("third")

    results = map_ahead(lambda i: i, items(), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="third"):
        next(results)
