"""A hang in the HDF5 library cannot be interrupted: what would hang is read in a process that can be killed."""

import shutil
import struct
import subprocess
import sys

import h5py
import pytest

from divseg.segment.stardist.heaps import HEAP, OBJECT, check_heaps
from divseg.segment.stardist.weights import find_weights


def places(data):
    """Return the place of each object of the first heap: its index and where it lies."""
    start = data.index(HEAP)
    end = start + struct.unpack_from("<Q", data, start + 8)[0]
    at, found = start + 16, []
    while at + OBJECT.size <= end:
        index, length = OBJECT.unpack_from(data, at)
        found.append((index, at))
        at += OBJECT.size + -(-length // 8) * 8 if index else length
    return found


@pytest.mark.parametrize("name", ["unet2d", "grid2", "channels2", "unet3d", "resnet3d"])
def test_models_are_sound(models, name):
    path = find_weights(models.folder / name)
    assert len(places(path.read_bytes())) > 5
    check_heaps(path)


def test_no_heaps(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["x"] = [1.0]
    check_heaps(tmp_path / "w.h5")


DAMAGE = {
    "free space without a length": (0, 0, 0),
    "an object that becomes free space without a length": (2, 0, 0),
    "free space beyond the heap": (0, 0, 2**40),
    "an object whose length wraps around": (2, 2, 2**64 - 16),
    "an object beyond the heap": (2, 2, 5000),
}


@pytest.mark.parametrize(("which", "index", "length"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_heaps_are_refused(models, tmp_path, which, index, length):
    path = tmp_path / "weights_best.h5"
    shutil.copy(models.folder / "unet2d" / "weights_best.h5", path)
    data = bytearray(path.read_bytes())
    OBJECT.pack_into(data, dict(places(data))[which], index, length)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged heap at byte 2048"):
        check_heaps(path)


def test_reading_weights_with_a_damaged_heap_ends(models, tmp_path):
    path = tmp_path / "weights_best.h5"
    shutil.copy(models.folder / "unet2d" / "weights_best.h5", path)
    data = bytearray(path.read_bytes())
    OBJECT.pack_into(data, dict(places(data))[0], 0, 0)
    path.write_bytes(data)
    code = f"from pathlib import Path; from divseg.segment.stardist.weights import *; read_weights(Path({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "ModelError" in done.stderr.splitlines()[-1]
    assert "cannot be read as HDF5 weights of Keras (damaged heap" in done.stderr
