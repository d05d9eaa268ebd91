import pickle
import sys
import types

import numpy as np
import pytest

from divseg.errors import ConfigError, InputError
from divseg.labels import LabelImage
from divseg.segment import Segmenter, segmenter

SOURCE = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np

@dataclass
class Settings:
    level: float = 5

def above(image):
    assert image.dtype == np.float32 and image.ndim == 2
    return np.where(image > Settings().level, 7, 0)

above.halo = 3

def mask(image): return image > 5
def fails(image): raise RuntimeError("no cells\\nat all")
def floats(image): return image
def other_shape(image): return np.zeros((2, 2), int)
def other_axes(image): return np.zeros(len(image), int)
def listed(image): return [[0]]
def negative(image): return np.full(image.shape, -1)
def spoils(image):
    image[:] = 0
    return np.ones(image.shape, np.uint8)
def volume(image): return (image > 5).astype(np.uint16)
number = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "my_cells.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


IMAGE = np.zeros((6, 9))
IMAGE[1:3, 1:3] = IMAGE[1:3, 6:8] = 9


def test_a_file_in_the_current_folder(here):
    made = segmenter("python:my_cells:above")
    assert isinstance(made, Segmenter)
    assert made.name == "python:my_cells:above"
    assert made.halo == 3
    assert made.fit(IMAGE) is made
    labels = made(IMAGE)
    assert labels.dtype == np.int32
    assert np.array_equal(labels, IMAGE > 5)  # label 7 became 1; both squares are one object, as the function says
    assert [m.max() for m in made([IMAGE, np.zeros((2, 4, 4))])] == [1, 0, 0]


def test_the_path_of_a_file(here, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert segmenter(f"python:{here / 'my_cells.py'}:above")(IMAGE).max() == 1


def test_files_of_one_name_in_two_folders_are_two_modules(here, monkeypatch, tmp_path_factory):
    first = segmenter("python:my_cells:above")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with open("my_cells.py", "w") as file:
        file.write("def above(image): return (image < -1).astype(int)")
    assert segmenter("python:my_cells:above")(IMAGE).max() == 0
    assert first(IMAGE).max() == 1
    assert "my_cells" not in sys.modules


def test_a_module_of_the_session(monkeypatch):
    module = types.ModuleType("cells_of_the_session")
    module.segment = lambda image: (image > 5).astype(np.int64)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert segmenter("python:cells_of_the_session:segment")(IMAGE).max() == 1


def test_a_mask_is_divided_into_regions(here):
    assert segmenter("python:my_cells:mask")(IMAGE).max() == 2


def test_the_image_of_the_caller_is_not_changed(here):
    image = IMAGE.astype(np.float32)
    segmenter("python:my_cells:spoils")(image)
    assert np.array_equal(image, IMAGE)


def test_labels_without_background_stay(here):
    assert (segmenter("python:my_cells:spoils")(IMAGE) == 1).all()


def test_volumes(here):
    made = segmenter("python:my_cells:volume,ndim=3")
    assert made.name == "python:my_cells:volume,ndim=3"
    assert made(np.stack([IMAGE, IMAGE])).shape == (2, 6, 9)


def test_travels_by_name(here):
    again = pickle.loads(pickle.dumps(segmenter("python:my_cells:above")))
    assert again(IMAGE).max() == 1


def above(image):
    return np.where(image > 5, 7, 0)


above.halo = 3


class Above:
    def __call__(self, image):
        return above(image)


def test_a_function_itself():
    made = segmenter(above)
    assert isinstance(made, Segmenter)
    assert (made.name, made.halo) == (f"{__name__}:above", 3)
    assert segmenter(made) is made
    labels = made(IMAGE)
    assert isinstance(labels, LabelImage)
    assert np.array_equal(labels, IMAGE > 5)
    assert [m.max() for m in made([IMAGE, np.zeros((2, 4, 4))])] == [1, 0, 0]
    assert segmenter(lambda image: image > 5)(IMAGE).max() == 2  # a mask
    assert segmenter(lambda image: image > 5).name == f"{__name__}:test_a_function_itself.<locals>.<lambda>"
    assert segmenter(Above()).name == f"{__name__}:Above"
    with pytest.raises(InputError, match=r"returned: a label image holds integers, not float32"):
        segmenter(lambda image: image)(IMAGE)


def test_a_function_itself_is_pickled_if_it_can_be(monkeypatch):
    module = types.ModuleType("cells_to_pickle")
    exec("def segment(image): return (image > 5).astype(int)", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    again = pickle.loads(pickle.dumps(segmenter(module.segment)))
    assert again.name == "cells_to_pickle:segment"
    assert again(IMAGE).max() == 1
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(segmenter(lambda image: image > 5))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("python:", "write python:module:function"),
        ("python:my_cells", "write python:module:function"),
        ("python:my_cells:", "write python:module:function"),
        ("python:no_such_module:f", "there is no module 'no_such_module', neither installed nor as a file in"),
        ("python:no.such.module:f", "there is no module 'no.such.module'"),
        ("python:not a name:f", "there is no module 'not a name'"),
        ("python:nowhere.py:f", "importing 'nowhere.py' failed: .*no such file"),
        ("python:my_cells:abve", "has no function 'abve'; did you mean 'above'"),
        ("python:my_cells:number", "'number' of 'my_cells' is not a function"),
        ("python:broken:f", "importing 'broken' failed: ZeroDivisionError"),
        ("python:lacks:f", "importing 'lacks' failed: ModuleNotFoundError.*no_such_library"),
        ("python:my_cells:above,smooth=1", r"has no option 'smooth' \(options: ndim\)"),
    ],
)
def test_what_cannot_be_imported(here, spec, words):
    (here / "broken.py").write_text("1 / 0")
    (here / "lacks.py").write_text("import no_such_library")
    with pytest.raises(ConfigError, match=words) as caught:
        segmenter(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("fails", r"python:my_cells:fails failed on an image of shape \(6, 9\): RuntimeError"),
        ("floats", "what python:my_cells:floats returned: a label image holds integers, not float32"),
        ("other_shape", r"returned shape \(2, 2\) for an image of shape \(6, 9\)"),
        ("other_axes", r"what python:my_cells:other_axes returned: shape \(6,\); a label image has the axes \(Y, X\)"),
        ("listed", "returned a list; return a label image, a NumPy array"),
        ("negative", "returned: label -1 is negative"),
    ],
)
def test_what_a_function_may_not_do(here, function, words):
    with pytest.raises(InputError, match=words) as caught:
        segmenter(f"python:my_cells:{function}")(IMAGE)
    assert "\n" not in str(caught.value)
    if function == "fails":
        assert isinstance(caught.value.__cause__, RuntimeError)
