"""Images that were read a moment ago, kept in memory so that each is read from disk once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable

from divseg.io.image import Image

_TICK_NS = 10_000_000
"""File times advance in steps of up to this; two changes within one step look the same."""


class ImageCache:
    """Recently read images, the least recently used dropped first. Safe to use from several threads.

    Parameters
    ----------
    max_bytes : int
        Size of all pixels together; a larger image is not kept at all.
    """

    def __init__(self, max_bytes: int = 2**28) -> None:
        self.max_bytes = max_bytes
        self._images: OrderedDict[Hashable, Image] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Image | None:
        """Return the image of a key, None if there is none."""
        with self._lock:
            image = self._images.get(key)
            if image is not None:
                self._images.move_to_end(key)
            return image

    def add(self, key: Hashable, image: Image, changed_ns: int) -> Image:
        """Keep an image, and return it or the one that another thread has added under this key.

        Parameters
        ----------
        key : hashable
            What the image was read from, with the state of the file.
        image : Image
            Its array becomes read-only.
        changed_ns : int
            Time of the file's last change in nanoseconds since the epoch. An image of a file that changed this
            very moment is not kept, as the file could change again without a trace in its times.
        """
        image.data.flags.writeable = False
        with self._lock:
            if key in self._images:
                return self._images[key]
            if image.data.nbytes <= self.max_bytes and time.time_ns() - changed_ns > _TICK_NS:
                self._images[key] = image
                self._bytes += image.data.nbytes
                while self._bytes > self.max_bytes:
                    _, oldest = self._images.popitem(last=False)
                    self._bytes -= oldest.data.nbytes
        return image

    def clear(self) -> None:
        """Drop all images."""
        with self._lock:
            self._images.clear()
            self._bytes = 0


CACHE = ImageCache()
"""The cache of the process, used by :meth:`divseg.io.ImageRef.load`."""
