"""Weights of a Keras network, read from HDF5 without Keras.

Three layouts are in use. Keras 2 and CSBDeep under Keras 3 write one group for each layer under the layer's name,
with the names listed in attributes. Keras 3 (``.weights.h5``) writes ``layers/<class>_<n>/vars/<i>``, where n
counts the layers of a class in the order of the network. TensorFlow 2.12 to 2.15 wrote the same under another name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.errors import DAMAGE, FileProblem, ModelError, one_line
from divseg.io.limits import check_claim
from divseg.segment.stardist.heaps import check_heaps

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LayerWeights:
    """Arrays of one layer: kernel and perhaps bias, or gamma, beta, mean and variance.

    Attributes
    ----------
    name : str
        Name in the file.
    arrays : tuple of array
        Arrays in the order of the file.
    """

    name: str
    arrays: tuple[Array, ...]

    @property
    def is_norm(self) -> bool:
        """Whether these are the weights of a batch normalisation."""
        return self.arrays[0].ndim == 1

    @property
    def number(self) -> int:
        """Counter at the end of a name that Keras made: ``conv2d`` 0, ``conv2d_3`` 3."""
        counter = re.search(r"_(\d+)$", self.name)
        return int(counter[1]) if counter else 0


@dataclass(frozen=True)
class WeightFile:
    """Layers that have weights.

    Attributes
    ----------
    path : Path
        The file.
    layers : tuple of LayerWeights
        Layers in the order of the file.
    named : bool
        Whether layers that the network's builder named have these names; otherwise only their order identifies them.
    """

    path: Path
    layers: tuple[LayerWeights, ...]
    named: bool


def find_weights(folder: Path) -> Path:
    """Return the weight file that StarDist would load: the best, otherwise the newest.

    Raises
    ------
    ModelError
        If there is none.
    """
    files = [path for ext in ("*.h5", "*.hdf5") for path in folder.glob(ext)]
    best = [path for path in files if "best" in path.name]
    for name in ("weights_best.h5", "weights_last.h5", "weights_now.h5"):
        if (folder / name) in files and (not best or "best" in name):
            return folder / name
    if not files:
        raise ModelError(
            f"{folder} has no weights (weights_best.h5 or weights_last.h5); copy the whole folder that StarDist wrote"
        )
    return max(best or files, key=lambda path: (path.stat().st_mtime, path.name))


def read_weights(path: Path) -> WeightFile:
    """Read the weights of a network.

    Raises
    ------
    ModelError
        If the file is damaged, or not a weight file of Keras.
    """
    import h5py

    try:
        check_heaps(path)
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if not isinstance(root, h5py.Group):
                raise ModelError(f"{path} holds no weights in a layout of Keras; copy the model again")
            if "layer_names" in root.attrs or "layer_names0" in root.attrs:
                return WeightFile(path, tuple(_named(root)), named=True)
            for group in ("layers", "_layer_checkpoint_dependencies"):
                if group in root:
                    return WeightFile(path, tuple(_numbered(root[group])), named=False)
    except FileProblem as error:
        raise ModelError(str(error)) from error
    except ModelError:
        raise
    except DAMAGE as error:
        raise ModelError(
            f"{path} cannot be read as HDF5 weights of Keras ({one_line(error)}); copy the model again"
        ) from error
    raise ModelError(f"{path} holds no weights in a layout of Keras; copy the model again")


def _named(root: Any) -> Iterable[LayerWeights]:
    for name in _strings(root, "layer_names"):
        group = root[name]
        arrays = tuple(_array(group[weight], root) for weight in _strings(group, "weight_names"))
        if arrays:
            yield LayerWeights(name, arrays)


def _numbered(root: Any) -> Iterable[LayerWeights]:
    for name in root:
        group = root[name].get("vars")
        if group is not None and len(group):
            arrays = tuple(_array(group[str(i)], root) for i in range(len(group)))
            yield LayerWeights(name, arrays)


def _array(values: Any, root: Any) -> Array:
    """Read an array, if it lies in the file itself and is not larger than the file can hold."""
    if values.file.filename != root.file.filename or values.external or values.is_virtual:
        raise ValueError(f"{values.name} points at another file, which is not opened")
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{values.name} holds {values.dtype}, not numbers")
    check_claim(root.file.filename, values.size * 4)
    return np.asarray(values, np.float32)


def _strings(group: Any, name: str) -> list[str]:
    """Read a list of strings, which Keras cuts in pieces if it exceeds the size of an attribute."""
    if name in group.attrs:
        pieces = [group.attrs[name]]
    else:
        pieces = []
        while f"{name}{len(pieces)}" in group.attrs:
            pieces.append(group.attrs[f"{name}{len(pieces)}"])
    return [s.decode("utf-8") if isinstance(s, bytes) else str(s) for piece in pieces for s in piece]
