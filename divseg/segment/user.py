"""The user's own segmentation function: ``python:module:function``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from divseg.errors import ConfigError, InputError
from divseg.segment.stream import AXES, label_images
from divseg.specs import Number, Option, canonical, read_options

OPTIONS = {"ndim": Option(Number(2, 3, whole=True), 2, "2: planes (Y, X); 3: volumes (Z, Y, X)")}


class UserSegmenter:
    """A function of the user's that turns one image into its label image.

    Attributes
    ----------
    name : str
        Canonical string, for example ``"python:my_cells:segment"``.
    halo : int
        The function's attribute ``halo`` where it has one, otherwise 0.
    """

    def __init__(self, where: str, function: Callable[[NDArray[np.float32]], Any], ndim: int = 2) -> None:
        self.where, self.function, self.ndim = where, function, ndim
        self.name = canonical(f"python:{where}", {"ndim": ndim}, OPTIONS)
        self.halo = int(getattr(function, "halo", 0))

    def __reduce__(self) -> tuple[Any, ...]:
        # by name: another process imports the function itself
        return (type(self).from_spec, (f"python:{self.where}", [("ndim", str(self.ndim))]))

    @classmethod
    def from_spec(cls, method: str, pairs: Iterable[tuple[str, str]]) -> Self:
        """Import a function.

        Parameters
        ----------
        method : str
            ``"python:module:function"``, where module is importable, or stands as ``module.py`` in the current
            folder, or is the path of a ``.py`` file. The function takes one float32 array (Y, X) and returns a label
            image: integers, 0 for background, or a mask of bool (then each connected region is an object).
        pairs : iterable of (str, str)
            ``ndim=3`` if the function takes (Z, Y, X).

        Raises
        ------
        ConfigError
            If there is no such module or function.
        """
        where = method.partition(":")[2]
        values = read_options(method, pairs, OPTIONS)
        module_name, _, function_name = where.rpartition(":")
        if not module_name or not function_name:
            raise ConfigError(
                f"segmenter {method!r}: write python:module:function, for example python:my_cells:segment"
            )
        module = _load(module_name, method)
        function = getattr(module, function_name, None)
        if function is None:
            near = difflib.get_close_matches(function_name, [n for n in vars(module) if not n.startswith("_")], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"segmenter {method!r}: module {module_name!r} has no function {function_name!r}{hint}")
        if not callable(function):
            raise ConfigError(f"segmenter {method!r}: {function_name!r} of {module_name!r} is no function")
        return cls(where, function, values["ndim"])

    def fit(self, reference: Any) -> Self:
        """Return the segmenter itself: it has no image-level parameters."""
        return self

    def __call__(self, images: Any) -> Any:
        """Segment one image, or many lazily; see :class:`divseg.segment.Segmenter`.

        Labels are renumbered 1..n in increasing order. All pixels of one label stay one object, connected or not.

        Raises
        ------
        InputError
            If the function raises, or returns something that is no label image of the image's shape.
        """
        return label_images(images, self._segment, self.ndim)

    def _segment(self, image: NDArray[np.floating]) -> NDArray[np.int32]:
        # a copy: what the function does to its argument is not done to the caller's samples
        pixels = np.array(image, np.float32)
        try:
            result = self.function(pixels)
        except Exception as error:
            raise InputError(f"{self.name} failed on an image of shape {image.shape}: {error!r}") from error
        return self._checked(result, image.shape)

    def _checked(self, result: Any, shape: tuple[int, ...]) -> NDArray[np.int32]:
        advice = f"return a label image: integers of the image's axes {AXES[self.ndim]}, 0 for background"
        if not isinstance(result, np.ndarray):
            raise InputError(f"{self.name} returned a {type(result).__name__}, not a NumPy array; {advice}")
        if result.shape != shape:
            raise InputError(f"{self.name} returned shape {result.shape} for an image of shape {shape}; {advice}")
        if result.dtype == np.bool_:
            from scipy import ndimage as ndi

            return ndi.label(result)[0].astype(np.int32, copy=False)
        if result.dtype.kind not in "iu":
            raise InputError(f"{self.name} returned dtype {result.dtype}; {advice}")
        if result.dtype.kind == "i" and result.min() < 0:
            raise InputError(f"{self.name} returned the negative label {result.min()}; {advice}")
        found, index = np.unique(result, return_inverse=True)
        return (index.reshape(shape) + (found[0] != 0)).astype(np.int32)


def _load(name: str, method: str) -> ModuleType:
    try:
        path = Path(name) if name.endswith(".py") else _beside(name)
        return importlib.import_module(name) if path is None else _from_file(path)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(
                f"segmenter {method!r}: there is no module {name!r}, neither installed nor as a file in {Path.cwd()}"
            ) from error
        raise ConfigError(f"segmenter {method!r}: importing {name!r} failed: {error!r}") from error
    except Exception as error:
        raise ConfigError(f"segmenter {method!r}: importing {name!r} failed: {error!r}") from error


def _beside(name: str) -> Path | None:
    """Return the module's file in the current folder, where nothing importable has that name."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise ModuleNotFoundError(name=name)
    top = name.partition(".")[0]
    if top in sys.modules or importlib.util.find_spec(top) is not None:
        return None
    path = Path(*name.split(".")).with_suffix(".py")
    return path if path.is_file() else None


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    path = path.resolve()
    # a name of its own: files of equal names in two folders are two modules, and neither hides an installed one
    name = f"divseg_user_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
