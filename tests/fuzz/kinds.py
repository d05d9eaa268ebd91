"""What is mutated and how it is read: a good file of each format, and the reader that must take or refuse it."""

import contextlib
import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Pillow

from tests.fuzz import mutate

MODELS = Path(__file__).parent.parent / "segment" / "stardist" / "models"


V3 = {"zarr.json": "json", "0/zarr.json": "json", "0/c/0/0/0": "bytes"}
"""Files of an OME-Zarr of version 0.5, and how they are changed."""


@dataclass(frozen=True)
class Kind:
    """A file of a folder, how it is changed, and what reads the folder.

    Attributes
    ----------
    folder : Path
        Folder of good files.
    file : str
        The one that is changed.
    change : callable
        From its bytes and a generator to other bytes.
    read : callable
        Given the changed folder and the file in it.
    """

    folder: Path
    file: str
    change: object
    read: object


def make_kinds(root):
    """Write the good files below a folder; return the kinds by name."""
    kinds = {}
    for name, data in {**_tiffs(), **_pictures()}.items():
        folder = root / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_bytes(data)
        kinds[f"{name} bytes"] = Kind(folder, name, mutate.change_bytes, read_image)
        if not name.endswith(".jpg"):
            structure = mutate.change_chunk if name.endswith(".png") else mutate.change_tag
            kinds[f"{name} structure"] = Kind(folder, name, structure, read_image)
        if b"<OME" in data:
            kinds[f"{name} xml"] = Kind(folder, name, mutate.change_xml, read_image)
    kinds |= _zarrs(root) | _noises(root) | _stardist(root) | _run(root) | _others(root)
    return kinds


def _tiffs():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 4000, (24, 20)).astype(np.uint16)
    small = (image >> 4).astype(np.uint8)
    grey = np.stack([small] * 3, -1)
    written = {
        "plain.tif": (image, {}),
        "tiles.tif": (image, {"tile": (16, 16), "compression": "zlib"}),
        "strips.tif": (image, {"rowsperstrip": 5, "compression": "zlib"}),
        "imagej.tif": (np.stack([image] * 3), {"imagej": True, "metadata": {"axes": "TYX", "unit": "um"}}),
        "movie.ome.tif": (np.stack([image] * 3), {"ome": True, "metadata": {"axes": "TYX", "PhysicalSizeX": 0.5}}),
        "zip.ome.tif": (np.stack([image] * 2), {"ome": True, "metadata": {"axes": "CYX"}, "compression": "zlib"}),
        "white.tif": (small, {"photometric": "miniswhite"}),
        "grey.tif": (grey, {"photometric": "rgb"}),
        "shaped.tif": (np.stack([image] * 2), {"metadata": {"axes": "TYX"}}),
        "float.tif": (image.astype("f4"), {}),
        "bits.tif": (small > 100, {}),
        "big.tif": (image, {"bigtiff": True}),
        "end.tif": (image, {"byteorder": ">"}),
    }
    out = {}
    for name, (data, options) in written.items():
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, data, **({"photometric": "minisblack"} | options))
        out[name] = buffer.getvalue()
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(image, subifds=1, photometric="minisblack")
        writer.write(image[::2, ::2], subfiletype=1, photometric="minisblack")
        writer.write(grey[::3, ::3], photometric="rgb")
    return out | {"series.tif": buffer.getvalue()}


def _pictures():
    rng = np.random.default_rng(2)
    small = rng.integers(0, 255, (24, 20)).astype(np.uint8)
    pictures = {
        "grey.png": Pillow.fromarray(small),
        "grey16.png": Pillow.fromarray(small.astype(np.uint16) * 200),
        "rgb.png": Pillow.fromarray(np.stack([small] * 3, -1)),
        "la.png": Pillow.fromarray(np.stack([small, np.full_like(small, 255)], -1)),
        "palette.png": Pillow.fromarray(np.stack([small, small // 2, small], -1)).quantize(64),
        "bits.png": Pillow.fromarray(small > 100),
    }
    out = {}
    for name, picture in pictures.items():
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        out[name] = buffer.getvalue()
    for name in ("grey.png", "rgb.png"):
        buffer = io.BytesIO()
        pictures[name].save(buffer, "JPEG")
        out[name.replace(".png", ".jpg")] = buffer.getvalue()
    return out


def _zarrs(root):
    """Return kinds of an OME-Zarr of version 0.4 (zarr 2) and one of version 0.5 (zarr 3); none without the package."""
    try:
        import zarr
    except ImportError:
        return {}
    rng, kinds = np.random.default_rng(5), {}
    axes = [{"name": letter, "type": "space" if letter in "yx" else "channel"} for letter in "cyx"]
    steps = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    shown = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}], "version": "0.4"}
    for version, changed in ((2, {".zattrs": "json", "0/.zarray": "json", "0/0.0.0": "bytes"}), (3, V3)):
        folder = root / f"zarr{version}"
        group = zarr.open_group(str(folder / "a.zarr"), mode="w", zarr_format=version)
        group.create_array("0", data=rng.integers(0, 900, (2, 24, 20)).astype(np.uint16), chunks=(2, 24, 20))
        group.attrs.update(
            {"multiscales": [shown]} if version == 2 else {"ome": {"multiscales": [shown], "version": "0.5"}}
        )
        for name, how in changed.items():
            change = mutate.change_json if how == "json" else mutate.change_bytes
            kinds[f"zarr {version} {name}"] = Kind(folder, f"a.zarr/{name}", change, read_folder)
    return kinds


def read_folder(folder, file):
    """Read all images of a folder."""
    from divseg.io import check_inputs

    report = check_inputs(folder, channel=0)
    report.lines()
    for ref in report.images.refs[:4]:
        ref.load()


def read_image(folder, file):
    """Read as images and as a mask."""
    from divseg.errors import DivsegError
    from divseg.io import check_inputs, read_labels

    try:
        report = check_inputs(folder, truth=folder)
        report.lines()
    except DivsegError:
        report = check_inputs(folder, channel=0)
    for ref in report.images.refs[:4]:
        with contextlib.suppress(DivsegError):
            ref.load()
            ref.load(tuple(slice(0, 2) for _ in ref.shape))
    read_labels(file)


def _noises(root):
    from divseg.denoise import noise
    from divseg.denoise.noise.histogram import Histogram

    folder = root / "noise"
    folder.mkdir()
    table = np.eye(12) + 0.2
    models = {
        "gaussian.json": noise.Gaussian(20.0).with_limits(0.0, 4095.0),
        "poisson.json": noise.PoissonGaussian(2.0, 30.0, low=10.0, high=900.0),
        "mixture.json": noise.GaussianMixture(np.ones((6, 2)) * 0.3, min_signal=0, max_signal=900, min_sigma=4),
        "histogram.json": Histogram(table, low=0.0, high=120.0),
        "mixture.npz": noise.GaussianMixture(np.ones((6, 2)) * 0.3, min_signal=0, max_signal=900, min_sigma=4),
        "histogram.npz": Histogram(table, low=0.0, high=120.0),
        "histogram.npy": Histogram(table, low=0.0, high=120.0),
    }
    changes = {".json": mutate.change_json, ".npz": mutate.change_npz, ".npy": mutate.change_npy}
    for name, model in models.items():
        model.save(folder / name)
    return {f"noise {name}": Kind(folder, name, changes[Path(name).suffix], read_noise) for name in models}


def read_noise(folder, file):
    """Read a noise model and use it."""
    import torch

    from divseg.denoise import noise

    model = noise.load(file)
    s = torch.linspace(0, 100, 5)
    model.log_prob(s + 1, s)
    model.variance(s)
    model.describe()


def _stardist(root):
    folder = root / "stardist"
    shutil.copytree(MODELS / "unet2d", folder)
    changes = {
        "config.json": mutate.change_json,
        "thresholds.json": mutate.change_json,
        "weights_best.h5": mutate.change_bytes,
    }
    return {f"stardist {name}": Kind(folder, name, change, read_stardist) for name, change in changes.items()}


def read_stardist(folder, file):
    """Load a StarDist model."""
    from divseg.segment import segmenter

    segmenter(f"stardist:{folder}")._network()


def _run(root):
    from divseg.workflow.run import run
    from divseg.workflow.segment import segment_folder

    rng = np.random.default_rng(3)
    (root / "images").mkdir()
    (root / "masks").mkdir()
    labels = np.kron(np.arange(9).reshape(3, 3), np.ones((16, 16), np.uint8)).astype(np.uint8)
    for name in ("a", "b"):
        noisy = 100 + 60 * (labels % 2) + rng.normal(0, 9, labels.shape)
        tifffile.imwrite(root / "images" / f"{name}.tif", noisy.astype(np.uint16))
        tifffile.imwrite(root / "masks" / f"{name}.tif", labels)
    settings = {"network": "flat,filters=4,latents=4", "train_steps": 3, "samples": 2, "device": "cpu", "simulate": 0}
    settings["keep"] = "denoised,std,foreground,boundary,stacks,samples"
    folder = root / "run"
    run(root / "images", folder, truth=root / "masks", segmenter="otsu", compare=(), report=False, **settings)
    changes = {
        "run.json": mutate.change_json,
        "stages.json": mutate.change_json,
        "units/a.json": mutate.change_json,
        "images.csv": mutate.change_table,
        "objects.csv": mutate.change_table,
        "scores.csv": mutate.change_table,
        "summary.csv": mutate.change_table,
        "objects/a.csv": mutate.change_table,
        "labels/a.tif": mutate.change_tag,
        "denoised/a.tif": mutate.change_bytes,
        "samples/a.tif": mutate.change_tag,
        "stacks/a.npz": mutate.change_npz,
        "measurements.csv": mutate.change_table,
        "model/training.jsonl": mutate.change_lines,
    }
    kinds = {f"run {name}": Kind(folder, name, change, read_run) for name, change in changes.items()}
    segment_folder(root / "images", root / "segmented", "otsu")
    kinds["finalize run.json"] = Kind(root / "segmented", "run.json", mutate.change_json, read_parts)
    model = {
        "config.json": mutate.change_json,
        "weights.pt": mutate.change_bytes,
        "training.jsonl": mutate.change_lines,
    }
    return kinds | {f"model {n}": Kind(folder / "model", n, change, read_model) for n, change in model.items()}


def read_parts(folder, file):
    """Make tables of a folder from what its run.json says, and look at it."""
    from divseg.workflow.finalize import finalize

    finalize(folder)
    read_run(folder, file)


def read_model(folder, file):
    """Load a model, with its noise model and training log."""
    from divseg import DivNoising
    from divseg.results.reader import read_training_log

    model = DivNoising.load(folder)
    model.noise.describe()
    repr(model)
    read_training_log(folder)


def read_run(folder, file):
    """Look at everything in a run folder, and what is done of it."""
    from divseg.errors import DivsegError
    from divseg.report import facts, findings
    from divseg.results import RunStore
    from divseg.results.open_run import open_run

    run = open_run(folder)
    looks = [
        lambda: (repr(run), run._repr_html_(), run.warnings, run.pixel_sizes, run.setting("data", "axes")),
        lambda: [run.labels[name] for name in run.labels],
        lambda: [run.denoised[name] for name in run.denoised],
        lambda: [run.samples[name] for name in run.samples],
        lambda: [each.labels(k) for each in map(run.stacks.get, run.stacks) for k in range(len(each))],
        lambda: [run.images[name] for name in run.images],
        lambda: run.training_log,
        lambda: (facts.overview(run), facts.training_facts(run), facts.calibration_words(run)),
        lambda: [
            words(run, findings.grouped_warnings(run))
            for words in (findings.found, findings.to_trust, findings.to_look_at)
        ],
        lambda: [facts.image_facts(run, name) for name in run.names],
        lambda: (facts.citations(run), facts.flatten(run.config)),
        lambda: (run.scores, run.summary, run.alternatives, run.failures),
        lambda: RunStore.existing(folder).collect(["a", "b"], ["denoise", "segment", "fuse"]),
        lambda: RunStore.existing(folder).read_stages(),
    ]
    for look in looks:
        with contextlib.suppress(DivsegError):
            look()


def _others(root):
    from divseg import Calibration, LabelStack
    from divseg.config import RunConfig
    from divseg.metrics.calibration import Curve
    from divseg.metrics.risk import RiskCurve

    folder = root / "others"
    folder.mkdir()
    curve = Curve([0.0, 0.5, 1.0], [0.1, 0.6, 0.9])
    risk, check = RiskCurve(20, [-1.0, 0.5], [0.2, 0.0]), {"brier_after": 0.1}
    made = Calibration("labels", 0.5, 0.9, "clustering", 20, 400, curve, (curve,), 0.9, (0.1, 0.2), 0.05, risk, check)
    made.save(folder / "c.json")
    (folder / "s.toml").write_text(RunConfig().to_toml())
    (folder / "w.csv").write_text("name,weight\na,1\nb,2\n")
    rng = np.random.default_rng(4)
    LabelStack.of(rng.integers(0, 4, (8, 9)) for _ in range(3)).save(folder / "s.npz")
    good, masks = root / "names", root / "sets"
    good.mkdir()
    tifffile.imwrite(good / "x.tif", rng.integers(0, 9, (6, 7)).astype(np.uint8))
    for rater in "ab":
        (masks / rater).mkdir(parents=True)
        tifffile.imwrite(masks / rater / "i.tif", rng.integers(0, 4, (8, 9)).astype(np.uint8), photometric="minisblack")
    return {
        "calibration": Kind(folder, "c.json", mutate.change_json, read_calibration),
        "settings": Kind(folder, "s.toml", mutate.change_toml, read_settings),
        "label stack": Kind(folder, "s.npz", mutate.change_npz, read_stack),
        "weights of masks": Kind(folder, "w.csv", mutate.change_table, read_weights),
        "names": Kind(good, "x.tif", lambda data, rng: data, None),
        "mask sets": Kind(masks, "b/i.tif", mutate.change_tag, read_sets),
    }


def read_calibration(folder, file):
    """Read a calibration and apply it."""
    import pandas as pd

    from divseg import Calibration

    calibration = Calibration.load(file)
    columns = ["label", "existence", "mean_iou", "area_q05", "area_q95"]
    calibration.apply(pd.DataFrame([[1, 1.0, 0.9, 90, 110], [2, 0.5, 0.5, 40, 60]], columns=columns))
    calibration.count_interval(3, 9)
    calibration.expected([0.9, 0.25])
    if calibration.risk is not None:
        calibration.cutoff(0.1)
    calibration.describe()


def read_settings(folder, file):
    """Read settings as a run does, and as the run folder holds them."""
    from divseg.config import RunConfig
    from divseg.workflow.check import check_settings

    config = RunConfig.from_toml(file)
    RunConfig.make(**config.model_dump(mode="json"))
    config.to_toml()
    check_settings(config)


def read_stack(folder, file):
    """Read a label stack and fuse it."""
    from divseg import LabelStack, fuse

    stack = LabelStack.load(file)
    for k in range(len(stack)):
        stack.labels(k)
    fuse(stack, method="majority")


def read_weights(folder, file):
    """Read the weights of label images."""
    from divseg.workflow.mask_weights import _read

    _read(file)


def read_sets(folder, file):
    """Find and read the label images of raters."""
    from divseg.io import find_mask_sets

    for one in find_mask_sets(folder).sets:
        for mask in one.masks:
            mask.load()


def read_name(folder, name):
    """Read an image of a strange name, file results under it, and write and read a table with it."""
    import os
    import sys

    import pandas as pd

    from divseg.errors import printable
    from divseg.io import check_inputs, write_csv, write_json
    from divseg.results import RunStore
    from divseg.results.reader import read_table

    os.replace(folder / "x.tif", os.path.join(os.fsencode(folder), name + b".tif"))
    report = check_inputs(folder)
    text = printable("\n".join(report.lines()), lines=True)
    assert all(c == "\n" or c.isprintable() or c == "\xa0" or ord(c) > 255 for c in text), text
    text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    for ref in report.images.refs:
        ref.load()
        store = RunStore(folder / "out")
        for path in (store.labels(ref.name), store.marker(ref.name), store.map(ref.name, "foreground")):
            assert path.resolve().is_relative_to((folder / "out").resolve())
            write_json(path, {"name": ref.name, "path": str(ref.path)})
        write_csv(folder / "out" / "t.csv", pd.DataFrame({"image": [ref.name, "b"], "x": [1.5, 2]}))
        assert read_table(folder / "out" / "t.csv")["image"].tolist() == [ref.name, "b"]
