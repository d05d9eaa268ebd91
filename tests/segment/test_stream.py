import itertools
import threading

import numpy as np
import pytest

from divseg.errors import InputError
from divseg.io import Image
from divseg.labels import LabelImage
from divseg.segment.stream import ImageForm, check_pixels, read_reference
from divseg.segment.stream import label_images as label_images_of

FORMS = {ndim: ImageForm(ndim, f"this segmenter (ndim={ndim})") for ndim in (2, 3)}


def label_images(images, segment, ndim, threads=1):
    return label_images_of(images, segment, FORMS[ndim], threads)


def count(image):
    """Label all pixels with the mean of the image, which identifies it."""
    return np.full(image.shape, round(float(image.mean())), np.int32)


def images(n, shape=(3, 4)):
    return np.stack([np.full(shape, i, np.float32) for i in range(n)])


def numbers(result):
    return [int(labels.flat[0]) for labels in result]


def test_one_image_gives_one_label_image():
    labels = label_images(images(8)[7], count, 2)
    assert isinstance(labels, LabelImage)
    assert labels.prob is None
    assert labels.shape == (3, 4)
    assert (labels == 7).all()


def test_a_stack_gives_an_iterator():
    result = label_images(images(5), count, 2)
    assert iter(result) is result
    labels = list(result)
    assert all(isinstance(one, LabelImage) for one in labels)
    assert numbers(labels) == [0, 1, 2, 3, 4]


def test_a_volume_is_one_image_for_a_volume_segmenter():
    assert label_images(images(3), count, 3).shape == (3, 3, 4)
    assert len(list(label_images(images(3)[None], count, 3))) == 1
    assert [v.shape for v in label_images([images(3), images(2)[None]], count, 3)] == [(3, 3, 4), (2, 3, 4)]


@pytest.mark.parametrize("wrap", [list, tuple, iter, lambda x: (i for i in x)])
def test_iterables_of_images_and_batches(wrap):
    a = images(6)
    assert numbers(label_images(wrap([a[0], a[1:3], a[3], a[4:]]), count, 2)) == [0, 1, 2, 3, 4, 5]


def test_a_list_of_one_image_is_still_a_stream():
    assert numbers(label_images([images(2)[1]], count, 2)) == [1]


def test_lazy_one_batch_at_a_time():
    taken = []

    def endless():
        for i in itertools.count():
            taken.append(i)
            yield np.full((2, 3, 4), i, np.float32)

    result = label_images(endless(), count, 2)
    assert taken == []
    assert numbers(itertools.islice(result, 2)) == [0, 0]
    assert taken == [0]
    assert numbers(itertools.islice(result, 3)) == [1, 1, 2]
    assert taken == [0, 1, 2]


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    a = torch.from_numpy(images(4))
    assert (label_images(a[2], count, 2) == 2).all()
    assert numbers(label_images(a, count, 2)) == [0, 1, 2, 3]
    assert numbers(label_images(iter([a[:3].requires_grad_(), a[3].to(torch.bfloat16)]), count, 2)) == [0, 1, 2, 3]


def test_arrays_that_are_read_on_demand(tmp_path):
    import h5py

    with h5py.File(tmp_path / "images.h5", "w") as file:
        stack, one = file.create_dataset("stack", data=images(4)), file.create_dataset("one", data=images(3)[2])
        assert numbers(label_images(stack, count, 2)) == [0, 1, 2, 3]
        assert (label_images(one, count, 2) == 2).all()
        assert numbers(label_images([one, stack], count, 2)) == [2, 0, 1, 2, 3]


def test_a_stack_of_none_gives_none():
    assert list(label_images(images(3)[:0], count, 2)) == []
    assert numbers(label_images([images(3)[:0], images(2)], count, 2)) == [0, 1]


def test_a_reference_is_one_image():
    one = Image.from_array(images(3)[2])
    assert np.array_equal(read_reference(one, FORMS[2]), images(3)[2])
    for wrong, words in ((images(3), r"shape \(3, 3, 4\)"), ([images(3)[0]], "a list"), ("mmse.tif", "a str")):
        with pytest.raises(InputError, match=f"the reference is {words}; give one image"):
            read_reference(wrong, FORMS[2])


def test_images_with_axes():
    image = Image.from_array(images(3)[2])
    assert (label_images(image, count, 2) == 2).all()
    assert numbers(label_images([image, image], count, 2)) == [2, 2]
    volume = Image.from_array(images(3), name="worm", axes="ZYX")
    assert label_images(volume, count, 3).shape == (3, 3, 4)
    with pytest.raises(InputError, match=r"worm: axes ZYX; this segmenter \(ndim=2\) takes YX"):
        label_images(volume, count, 2)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float16, np.float32])
def test_small_dtypes_become_float32(dtype):
    assert check_pixels(np.ones((2, 2), dtype), "image").dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.float64])
def test_large_dtypes_keep_their_precision(dtype):
    assert check_pixels(np.ones((2, 2), dtype), "image").dtype == np.float64


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("cells.tif", "cannot segment str 'cells.tif'"),
        (7, "cannot segment int"),
        ({"a": 1}, "cannot segment dict"),
        (None, "cannot segment NoneType"),
        (np.ones(5), r"shape \(5,\); this segmenter \(ndim=2\) takes one image \(Y, X\) or a stack of them"),
        (np.ones((2, 2, 2, 2)), "takes one image"),
        (np.ones((0, 4)), "no pixels"),
        (np.ones((2, 2), complex), "must be real numbers"),
        (np.array([["a"]]), "must be real numbers"),
        (np.array([[np.nan, 1.0]]), "1 pixels that are NaN or infinite"),
        (np.array([[np.inf, -np.inf]]), "2 pixels that are NaN or infinite"),
    ],
)
def test_what_is_not_an_image(bad, words):
    with pytest.raises(InputError, match=words):
        label_images(bad, count, 2)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([images(2), "x"], r"image 2 \(counted from 0\) is a str"),
        ([[1, 2]], r"image 0 .* is a list"),
        ([images(3), np.full((3, 4), np.nan)], "image 3 .* NaN"),
        ([images(3), np.ones(3)], "image 3 .*takes one image"),
        ([images(2), np.stack([images(1)[0], np.full((3, 4), np.inf)])], "image 3 .* infinite"),
        (np.stack([images(1)[0], np.full((3, 4), np.inf)]), "image 1 .* infinite"),
    ],
)
def test_the_stream_says_which_image_is_bad(bad, words):
    with pytest.raises(InputError, match=words):
        list(label_images(bad, count, 2))


def test_threads_keep_the_order_and_look_no_further_than_they_can_work():
    started = []

    def note(image):
        started.append(int(image.mean()))
        return count(image)

    result = label_images(images(9), note, 2, threads=3)
    assert int(next(result).flat[0]) == 0
    assert len(started) <= 4
    assert numbers(result) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted(started) == list(range(9))


def test_threads_work_at_once():
    meet = threading.Barrier(2, timeout=20)

    def wait(image):
        meet.wait()
        return count(image)

    assert numbers(label_images(images(6), wait, 2, threads=2)) == list(range(6))


def test_a_failure_in_a_thread_comes_after_the_results_before_it():
    stack = images(5)
    stack[3, 0, 0] = np.nan
    result = label_images(stack, count, 2, threads=2)
    assert [int(next(result).flat[0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="image 3"):
        next(result)


def test_threads_end_with_whoever_stops_early():
    result = label_images(images(50), count, 2, threads=2)
    next(result)
    result.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("divseg-segment")]
