"""Files in, label images and tables out."""

from __future__ import annotations

from divseg.io.atomic import write_bytes, write_csv, write_json, write_text
from divseg.io.check import InputReport, check_inputs
from divseg.io.hashing import config_hash
from divseg.io.image import Image, PixelSize, fingerprint
from divseg.io.labels import read_labels, write_labels
from divseg.io.mask_sets import LAYOUTS, MaskSet, MaskSets, find_mask_sets
from divseg.io.pixels import check_pixels, check_plane
from divseg.io.reading import as_images, read
from divseg.io.refs import ImageList, ImageRef
from divseg.io.truth import LabelRef, pair_truth
from divseg.io.write import write_image

__all__ = [
    "LAYOUTS",
    "Image",
    "ImageList",
    "ImageRef",
    "InputReport",
    "LabelRef",
    "MaskSet",
    "MaskSets",
    "PixelSize",
    "as_images",
    "check_inputs",
    "check_pixels",
    "check_plane",
    "config_hash",
    "find_mask_sets",
    "fingerprint",
    "pair_truth",
    "read",
    "read_labels",
    "write_bytes",
    "write_csv",
    "write_image",
    "write_json",
    "write_labels",
    "write_text",
]
