"""The user's own segmentation function, itself or by name: ``python:module:function``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from divseg.errors import ConfigError, InputError, did_you_mean
from divseg.labels import check_labels
from divseg.segment.stream import ImageForm, check_valid, label_images
from divseg.specs import Number, Option, canonical, read_options

if TYPE_CHECKING:
    from divseg.io import Image
    from divseg.segment.stream import Pixels

OPTIONS = {"ndim": Option(Number(2, 3, whole=True), 2, "2: planes (Y, X); 3: volumes (Z, Y, X)")}


class UserSegmenter:
    """A function of the user's that turns one image into its label image.

    The function takes one float32 array (Y, X) and returns a label image: integers, 0 for background, or a mask of
    bool (then each connected region is an object). It can be pickled if it is importable by name.

    Parameters
    ----------
    function : callable
        Its attribute ``halo``, if it has one, is the segmenter's.
    where : str, optional
        ``"module:function"`` as the user wrote it, for a function that was imported by that name.
    ndim : int
        3 if the function takes volumes (Z, Y, X).
    valid : bool array, optional
        What is data (:meth:`within`); None for all pixels.

    Attributes
    ----------
    name : str
        ``"python:my_cells:segment"`` if made of such a string; ``"my_cells:segment"``, module and qualified name, if
        made of the function itself.
    halo : int
        Pixels of context that the function needs, 0 by default.
    """

    def __init__(
        self,
        function: Callable[[NDArray[np.float32]], Any],
        where: str = "",
        ndim: int = 2,
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        self.valid = valid
        self.function, self.where, self.ndim = function, where, ndim
        qualname = getattr(function, "__qualname__", type(function).__qualname__)
        method = f"python:{where}" if where else f"{function.__module__}:{qualname}"
        self.name = canonical(method, {"ndim": ndim}, OPTIONS)
        self.halo = int(getattr(function, "halo", 0))

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.where:
            return (type(self), (self.function, "", self.ndim))
        # by name: another process imports the module itself, which may be a file in a folder
        return (type(self).from_spec, (f"python:{self.where}", [("ndim", str(self.ndim))]))

    @classmethod
    def from_spec(cls, method: str, pairs: Iterable[tuple[str, str]]) -> Self:
        """Import a function.

        Parameters
        ----------
        method : str
            ``"python:module:function"``, where module is importable, or the name of a file ``module.py`` in the
            current folder, or the path of a ``.py`` file.
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
            hint = did_you_mean(function_name, [n for n in vars(module) if not n.startswith("_")])
            raise ConfigError(f"segmenter {method!r}: module {module_name!r} has no function {function_name!r}{hint}")
        if not callable(function):
            raise ConfigError(f"segmenter {method!r}: {function_name!r} of {module_name!r} is not a function")
        return cls(function, where, values["ndim"])

    def fit(self, reference: Pixels | Image) -> Self:
        """Return the segmenter itself: a function has no image-level parameters."""
        return self

    def within(self, valid: NDArray[np.bool_] | None) -> Self:
        """Return a segmenter whose label images are cut to what is data; the function is given whole images."""
        return self if valid is None and self.valid is None else type(self)(self.function, self.where, self.ndim, valid)

    def spaced(self, distance: float | None) -> Self:
        """Return the segmenter itself: a function knows its images."""
        return self

    def __call__(self, images: Any) -> Any:
        """Segment one image, or many lazily; see :class:`divseg.segment.Segmenter`.

        Labels are renumbered 1..n in increasing order. All pixels of one label stay one object, connected or not.

        Raises
        ------
        InputError
            If the function raises, or does not return a label image of the image's shape.
        """
        return label_images(images, self._segment, ImageForm(self.ndim, f"this segmenter (ndim={self.ndim})"))

    def _segment(self, image: NDArray[np.floating]) -> NDArray[np.int32]:
        # a copy: the function may change its argument, but not the caller's samples
        pixels = np.array(image, np.float32)
        try:
            result = self.function(pixels)
        except Exception as error:
            raise InputError(f"{self.name} failed on an image of shape {image.shape}: {error!r}") from error
        if not isinstance(result, np.ndarray):
            raise InputError(f"{self.name} returned a {type(result).__name__}; return a label image, a NumPy array")
        labels = check_labels(result, f"what {self.name} returned", ndim=(self.ndim,))
        if labels.shape != image.shape:
            raise InputError(
                f"{self.name} returned shape {labels.shape} for an image of shape {image.shape}; "
                "return a label of each pixel"
            )
        if self.valid is not None:
            check_valid(self.valid, image, self.name)
            labels, result = (
                np.where(self.valid, labels, 0),
                result & self.valid if result.dtype == np.bool_ else result,
            )
        if result.dtype == np.bool_:
            from scipy import ndimage as ndi

            return ndi.label(result)[0].astype(np.int32, copy=False)
        values, index = np.unique(labels, return_inverse=True)
        return (index.reshape(labels.shape) + (values[0] != 0)).astype(np.int32)


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
    """Return the module's file in the current folder, unless something importable has that name."""
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
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
