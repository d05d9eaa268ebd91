import pickle
import subprocess
import sys

import numpy as np
import pytest

import divseg
from divseg.errors import ConfigError
from divseg.segment import Segmenter, segmenter
from divseg.segment.options import METHODS
from divseg.segment.protocol import FACTORIES


def test_every_method_has_a_factory():
    assert set(FACTORIES) == {*METHODS, "stardist", "python"}
    assert divseg.segmenter is segmenter


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_makes_a_segmenter(method):
    spec = "fixed,threshold=3" if method == "fixed" else method
    made = segmenter(spec)
    assert isinstance(made, Segmenter)
    assert made.name == spec
    assert made.halo >= 0
    assert segmenter(f" {spec.upper()} , smooth = 1.50 ").name == f"{spec},smooth=1.5"


def test_the_name_makes_the_same_segmenter():
    spec = "otsu,min_size=30,clear_border=yes,split=Distance,smooth=1.0,h=0.75,threshold=sample"
    name = segmenter(spec).name
    assert name == "otsu,smooth=1,min_size=30,clear_border=true,split=distance,h=0.75"
    assert segmenter(name).name == name


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("otus", r"unknown segmenter 'otus'; did you mean 'otsu'\? \(known: otsu, li, triangle"),
        ("cellpose", "known: otsu"),
        ("otsu:nuclei", "unknown segmenter 'otsu:nuclei'"),
        ("stardist", "write stardist:NAME_OR_FOLDER"),
        ("StarDist:,prob=0.5", "write stardist:NAME_OR_FOLDER"),
        ("", "has no method"),
        ("otsu,smoth=1", "did you mean 'smooth'"),
        ("python", "write python:module:function"),
        (None, "named by a string .*, or is a function, not a NoneType"),
    ],
)
def test_bad_names(spec, words):
    with pytest.raises(ConfigError, match=words) as caught:
        segmenter(spec)
    assert "\n" not in str(caught.value)


def test_segmenters_travel_to_other_processes():
    image = np.zeros((20, 20))
    image[5:15, 5:15] = 1
    made = segmenter("otsu,threshold=image").fit(image)
    again = pickle.loads(pickle.dumps(made))
    assert again.name == made.name
    assert np.array_equal(again(image), made(image))


def test_import_is_cheap():
    code = (
        "import sys; import divseg.segment; "
        "print([m for m in ('torch', 'numba', 'scipy', 'skimage') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_segmenting_never_imports_torch():
    code = (
        "import sys, numpy as np; from divseg.segment import segmenter; "
        "segmenter('otsu,split=distance')(np.eye(9)); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
