"""The sets by name: what each is, how it is scored, and where its files are expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.record import data_root
from benchmarks.sets import Picture, evenly, load_set

MOST, SIDE = 4, 256
"""Images of a set that are scored, and the side in pixels of the part of each, in its middle."""

RANGE = "range of the target as peak"
AFFINE = "range of the target as peak, after the scale and offset that fit each estimate best (scale-invariant)"


@dataclass(frozen=True)
class PaperSet:
    """A set of images.

    Attributes
    ----------
    what, source, licence : str
        What it is and where it comes from.
    protocol : str
        Images that are trained on, crop, and target.
    psnr : str
        Definition of PSNR.
    files : tuple of (str, int)
        Patterns below the folder of the data, and how many files each must match at least.
    load : callable, optional
        Returns the images; if it is absent, pairs of ``noisy`` and ``clean`` or the frames of one stack are read.
    noise : str, optional
        The noise, as divseg's option, if it is known.
    crop : tuple of slice
        Part of each image.
    calibration : str
        File with a calibration frame, below the folder of the data.
    paper : bool
        Whether the paper uses it, or a set that stands in for one.
    """

    what: str
    source: str
    licence: str
    protocol: str
    psnr: str = RANGE
    files: tuple[tuple[str, int], ...] = ()
    load: Callable[[], list[Picture]] | None = None
    noise: str | None = None
    crop: tuple[slice, slice] = (slice(None), slice(None))
    calibration: str = ""
    paper: bool = True


def missing_files(name: str) -> list[str]:
    """Return what is expected of a set and is not there, in words; nothing if the set can be run."""
    entry = REGISTRY[name]
    if not entry.files:
        return []
    root = data_root()
    out = []
    for pattern, count in entry.files:
        found = len(list(root.glob(pattern)))
        if found < count:
            out.append(f"{root / pattern}: {count} file{'s' * (count > 1)} expected, {found} found")
    return out


def load(name: str) -> list[Picture]:
    """Return the images of a set.

    Raises
    ------
    SystemExit
        If files are missing; the message names them.
    """
    entry = REGISTRY[name]
    missing = missing_files(name)
    if missing:
        raise SystemExit("\n".join([f"{name} is incomplete ({entry.what}; {entry.source}):", *missing, entry.protocol]))
    if entry.load is not None:
        pictures = entry.load()
    elif any("frames" in pattern for pattern, _ in entry.files):
        pictures = _frames(data_root() / name / "frames.tif")
    else:
        pictures = _pairs(data_root() / name / "noisy", "clean")
    return [_cropped(p, entry.crop) for p in pictures]


def scored(pictures: list[Picture], limit: int | None = None) -> list[Picture]:
    """Return what a set is scored on: the middles of evenly chosen images, at most four."""
    return [_cropped(p, _middle(p.noisy.shape)) for p in evenly(pictures, MOST if limit is None else limit)]


def _middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    y, x = (max(0, (side - SIDE) // 2) for side in shape)
    return slice(y, y + SIDE), slice(x, x + SIDE)


def _cropped(picture: Picture, crop: tuple[slice, slice]) -> Picture:
    clean = None if picture.clean is None else picture.clean[crop]
    return replace(picture, noisy=picture.noisy[crop], clean=clean)


def _pairs(folder: Path, target: str, pattern: str = "*.tif") -> list[Picture]:
    """Return the images of a folder with the targets of the same name in the folder beside it."""
    out = []
    for file in sorted(folder.glob(pattern)):
        clean = folder.with_name(target) / file.name
        if not clean.is_file():
            raise SystemExit(f"{clean} is missing: the target of {file}")
        out.append(Picture(file.stem, _read(file), _read(clean), None, "test"))
    return out


def _frames(file: Path, count: int = 20) -> list[Picture]:
    """Return evenly chosen frames (T, Y, X) of a static scene; the target is the mean of all of them."""
    frames = tifffile.imread(file).astype(np.float32)
    mean = frames.mean(axis=0)
    return [Picture(f"frame{k:04d}", frames[k], mean, None, "test") for k in evenly(range(len(frames)), count)]


def _read(file: Path) -> NDArray[np.float32]:
    return tifffile.imread(file).astype(np.float32)


def _simulated(name: str, level: str) -> Callable[[], list[Picture]]:
    return lambda: load_set(name, level)


def _w2s(channel: int) -> Callable[[], list[Picture]]:
    return lambda: _pairs(data_root() / "w2s_pairs" / "noisy", "reference", f"*_ch{channel}.tif")


def _convallaria() -> list[Picture]:
    files = sorted((data_root() / "convallaria" / "images").glob("*.tif"))
    return [Picture(file.stem, _read(file), None, None, "test") for file in files]


def _bsd68() -> list[Picture]:
    rng = np.random.default_rng(25)
    out = []
    for file in sorted((data_root() / "bsd68" / "images").glob("*.tif")):
        clean = _read(file)
        noisy = (clean + rng.normal(0, 25, clean.shape)).astype(np.float32)
        out.append(Picture(file.stem, noisy, clean, None, "test"))
    return out


def _digits() -> list[Picture]:
    """Return the digits that scikit-learn carries, 64 of 8x8 in a mosaic, enlarged twofold, with noise of sd 40."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise SystemExit(f"the set digits needs scikit-learn ({error}): pip install scikit-learn") from error

    digits = load_digits().images[: 24 * 64] * (255 / 16)
    rng = np.random.default_rng(40)
    out = []
    for k in range(24):
        mosaic = digits[64 * k : 64 * (k + 1)].reshape(8, 8, 8, 8).swapaxes(1, 2).reshape(64, 64)
        clean = np.kron(mosaic, np.ones((2, 2))).astype(np.float32)
        out.append(
            Picture(f"digits{k:02d}", (clean + rng.normal(0, 40, clean.shape)).astype(np.float32), clean, None, "test")
        )
    return out


def _salt_and_pepper() -> list[Picture]:
    """Return the clean nuclei with a tenth of the pixels replaced by black or white."""
    rng = np.random.default_rng(10)
    out = []
    for picture in load_set("dsb2018_fluo", "n10"):
        clean = picture.truth
        draw = rng.random(clean.shape)
        noisy = np.where(draw < 0.05, 0.0, np.where(draw > 0.95, 255.0, clean)).astype(np.float32)
        out.append(Picture(picture.name, noisy, clean, None, picture.part))
    return out


_ZENODO = "zenodo.org/records/"
_FU = "Krull et al., PN2V (Frontiers in Computer Science 2, 2020); " + _ZENODO
_TRANSDUCTIVE = "trained on the noisy images themselves; "
_PAIRS = _TRANSDUCTIVE + "noisy/NAME.tif and clean/NAME.tif of one name and shape"
_CONVERT = "convert NPZ arrays to TIFF, one file an image"


def _fu(number: str, frames: str, crop: str) -> str:
    return f"frames.tif is the stack of {frames} noisy frames (T, Y, X); target: their mean; crop: {crop}"


def _own(name: str, level: str, what: str, noise: str) -> PaperSet:
    return PaperSet(
        what=what,
        source=f"folder {name}, noise as make_noise.py {level}",
        licence="see the README of its folder",
        protocol=_TRANSDUCTIVE + "the target is the clean image in the units of the noisy one",
        files=((f"{name}/images/*.tif", 1),),
        load=_simulated(name, level),
        noise=noise,
    )


def _w2s_set(channel: int) -> PaperSet:
    return PaperSet(
        what=f"W2S, widefield, channel {channel}, single frames (avg1) against the mean of 400, 8 bits, six fields",
        source="Zhou et al., W2S (ECCV workshops 2020); ND-HowardGroup/Instant-Image-Denoising",
        licence="GPL-3.0 repository; for development only",
        protocol=_TRANSDUCTIVE + "the target is the mean of 400 frames; both were stretched to 8 bits by themselves",
        psnr=AFFINE,
        files=((f"w2s_pairs/noisy/*_ch{channel}.tif", 6), (f"w2s_pairs/reference/*_ch{channel}.tif", 6)),
        load=_w2s(channel),
    )


def _absent(name: str, what: str, source: str, protocol: str, files: tuple[tuple[str, int], ...] = ()) -> PaperSet:
    return PaperSet(
        what=what,
        source=source,
        licence="see its page",
        protocol=protocol,
        files=files or ((f"{name}/noisy/*.tif", 1), (f"{name}/clean/*.tif", 1)),
    )


def _fu_set(name: str, what: str, record: str, protocol: str) -> PaperSet:
    return _absent(name, what, _FU + record, _TRANSDUCTIVE + protocol, ((f"{name}/frames.tif", 1),))


REGISTRY: dict[str, PaperSet] = {
    "fu_convallaria": _fu_set(
        "fu_convallaria", "Convallaria, spinning disk, EMCCD, 100 frames", "5156913", _fu("5156913", "100", "none")
    ),
    "fu_mouse_actin": _fu_set(
        "fu_mouse_actin", "Mouse actin, confocal, 100 frames", "5156937", _fu("5156937", "100", "none")
    ),
    "fu_mouse_nuclei": replace(
        _fu_set(
            "fu_mouse_nuclei",
            "Mouse skull nuclei, confocal, 200 frames",
            "5156960",
            _fu("5156960", "200", "the left 256 columns are scored and trained on"),
        ),
        crop=(slice(None), slice(0, 256)),
    ),
    **{f"w2s_ch{c}": _w2s_set(c) for c in range(3)},
    **{
        f"w2s_avg{n}_ch{c}": replace(
            _absent(
                f"w2s_avg{n}_ch{c}",
                f"W2S, channel {c}, mean of {n} frame(s), 120 fields, raw intensities",
                "Zhou et al., W2S; IVRL/w2s, data/normalized",
                _PAIRS + f"; noisy from avg{n}/NNN_{c}.npy, clean from avg400/NNN_{c}.npy, {_CONVERT}",
            ),
            files=((f"w2s_avg{n}_ch{c}/noisy/*.tif", 120), (f"w2s_avg{n}_ch{c}/clean/*.tif", 120)),
        )
        for n in (1, 16)
        for c in range(3)
    },
    "flywing": _absent(
        "flywing", "DenoiSeg Flywing, Gaussian noise of sd 70", f"{_ZENODO}5156991", f"{_PAIRS}; {_CONVERT}"
    ),
    "mouse": _absent(
        "mouse", "DenoiSeg Mouse nuclei, Gaussian noise of sd 20", f"{_ZENODO}5157001", f"{_PAIRS}; {_CONVERT}"
    ),
    "mouse_salt_pepper": _absent(
        "mouse_salt_pepper", "DenoiSeg Mouse nuclei, salt and pepper", f"{_ZENODO}5157001", f"{_PAIRS}; {_CONVERT}"
    ),
    "mnist": _absent("mnist", "MNIST with Gaussian noise", "LeCun et al. 1998", f"{_PAIRS}; mosaics of digits"),
    "kmnist": _absent("kmnist", "KMNIST with Gaussian noise", "Clanuwat et al. 2018", f"{_PAIRS}; mosaics of letters"),
    "ebook": _absent("ebook", "page of a book of the OCR experiment", "not published with the paper", _PAIRS),
    "convallaria": PaperSet(
        what="one frame of Convallaria and one calibration frame",
        source=_FU + "5156913; ND-HowardGroup/Instant-Image-Denoising",
        licence="CC-BY-4.0",
        protocol="upper left 512x512 pixels; no target: noise and diversity only",
        psnr="none",
        files=(("convallaria/images/*.tif", 1), ("convallaria/calibration/*.tif", 1)),
        load=_convallaria,
        crop=(slice(0, 512), slice(0, 512)),
        calibration="convallaria/calibration/field_diaphragm_frame0000.tif",
    ),
    "bsd68-sd25": PaperSet(
        what="BSD68, natural images, Gaussian noise of sd 25",
        source="cszn/DnCNN, Set68; noise of numpy's generator with seed 25",
        licence="research use",
        protocol=_TRANSDUCTIVE + "the target is the clean image",
        files=(("bsd68/images/*.tif", 68),),
        load=_bsd68,
        noise="gaussian,std=25",
    ),
    "text_pages-n70": _own("text_pages", "n70", "pages of text, stand-in for the eBook", "gaussian,std=70"),
    "dsb2018_fluo-n10": _own("dsb2018_fluo", "n10", "nuclei, stand-in for DenoiSeg DSB n10", "gaussian,std=10"),
    "dsb2018_fluo-n20": _own("dsb2018_fluo", "n20", "nuclei, stand-in for DenoiSeg Mouse n20", "gaussian,std=20"),
    "dsb2018_fluo-pg_low": _own("dsb2018_fluo", "pg_low", "nuclei, few photons", "poisson-gaussian,a=5,b=-475"),
    "bbbc039-pg_mid": _own("bbbc039", "pg_mid", "nuclei, some photons", "poisson-gaussian,a=2,b=-184"),
    "bbbc039-pg_low": _own("bbbc039", "pg_low", "nuclei, few photons", "poisson-gaussian,a=5,b=-475"),
    "fmd_confocal_pairs": PaperSet(
        what="FMD, confocal, BPAE cells in three channels, one frame against the mean of 50, registered",
        source="Zhang et al., FMD (CVPR 2019); jason-lequyer/Noise2Fast",
        licence="MIT and Apache-2.0",
        protocol=_TRANSDUCTIVE + "the target is the mean of 50 frames, moved onto the frame by a Fourier shift",
        files=(("fmd_confocal_pairs/noisy/*.tif", 3), ("fmd_confocal_pairs/reference/*.tif", 3)),
        load=_simulated("fmd_confocal_pairs", "real"),
    ),
    "digits": PaperSet(
        what="small images: scikit-learn's digits in mosaics, Gaussian noise of sd 40; stand-in for MNIST",
        source="package scikit-learn",
        licence="CC-BY-4.0 (UCI Optical Recognition of Handwritten Digits)",
        protocol=_TRANSDUCTIVE + "24 mosaics of 64 digits, enlarged twofold; the target is the clean mosaic",
        load=_digits,
        noise="gaussian,std=40",
    ),
    "salt_pepper": PaperSet(
        what="nuclei with a tenth of the pixels black or white: the noise model is wrong",
        source="folder dsb2018_fluo",
        licence="see the README of its folder",
        protocol=_TRANSDUCTIVE + "the target is the clean image; stand-in for DenoiSeg Mouse salt and pepper",
        files=(("dsb2018_fluo/images/*.tif", 1),),
        load=_salt_and_pepper,
    ),
}
