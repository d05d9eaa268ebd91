import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from divseg.io import Image
from divseg.io.cache import ImageCache


def image(size=100, value=0):
    return Image.from_array(np.full((1, size), value, np.uint8), f"image {value}")


def test_least_recently_used_goes_first():
    cache = ImageCache(max_bytes=250)
    first = cache.add("a", image(), 0)
    cache.add("b", image(value=1), 0)
    assert cache.get("a") is first
    cache.add("c", image(value=2), 0)
    assert cache.get("b") is None
    assert cache.get("a") is first
    assert cache.get("c").data[0, 0] == 2
    cache.clear()
    assert cache.get("a") is None


def test_sizes_are_kept_right_over_many_images():
    cache = ImageCache(max_bytes=1000)
    for k in range(100):
        cache.add(k, image(value=k), 0)
    assert [k for k in range(100) if cache.get(k)] == list(range(90, 100))


def test_images_that_are_not_kept():
    cache = ImageCache(max_bytes=150)
    large = image(151)
    assert cache.add("large", large, 0) is large
    assert cache.get("large") is None
    cache.add("fresh", image(), time.time_ns())
    assert cache.get("fresh") is None


def test_arrays_become_read_only():
    assert not ImageCache().add("a", image(), 0).data.flags.writeable


def test_threads_get_one_image():
    cache = ImageCache()
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda k: cache.add(k % 5, image(value=k % 5), 0), range(200)))
    assert len({id(i) for i in images}) == 5
