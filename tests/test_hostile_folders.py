"""Model folders, run folders and calibrations that cannot be trusted: one line, and nothing outside is touched."""

import json
import shutil
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from divseg import Calibration, DivNoising, open_run
from divseg.denoise import noise
from divseg.errors import DivsegError, InputError, ModelError, OutputError
from divseg.metrics.calibration import Curve
from divseg.metrics.risk import RiskCurve
from divseg.results import Marker, RunStore
from divseg.results.writer import forget
from divseg.segment import segmenter

STARDIST = Path(__file__).parent / "segment" / "stardist" / "models" / "unet2d"
STRANGE = [None, True, -1, 1e308, float("nan"), 10**400, "x", [], {}, [1], {"a": 1}]


def change(path, keys, value):
    record = json.loads(path.read_text())
    node = record
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    path.write_text(json.dumps(record))


def one_line(error):
    assert "\n" not in str(error)
    assert len(str(error)) < 1500


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "m"
    image = np.random.default_rng(0).normal(100, 20, (64, 64))
    DivNoising.fit([image], network="flat,filters=4,latents=4", train_steps=2, device="cpu").save(folder)
    return folder


@pytest.fixture
def model(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "m"))


class TestModel:
    @pytest.mark.parametrize("value", STRANGE, ids=str)
    @pytest.mark.parametrize(
        "keys",
        [("network",), ("network", "filters"), ("noise",), ("noise", "kind"), ("mean",), ("std",), ("training",)],
    )
    def test_types(self, model, keys, value):
        allowed = {"training": [{}, {"a": 1}, []], "mean": [-1, 1e308, [1]], "std": [[1]]}
        if value in allowed.get(keys[0], []) and value is not True:
            pytest.skip("as it may be")
        change(model / "config.json", keys, value)
        with pytest.raises(ModelError) as caught:
            DivNoising.load(model)
        one_line(caught.value)

    @pytest.mark.parametrize("network", [{"filters": 512}, {"latents": 1024}, {"depth": 6}, {"filters": 10**9}])
    def test_a_network_that_does_not_fit_is_not_made(self, model, network):
        for name, value in network.items():
            change(model / "config.json", ("network", name), value)
        tracemalloc.start()
        with pytest.raises(ModelError, match=r"bytes of weights, but weights\.pt only|filters=|depth=|latents="):
            DivNoising.load(model)
        assert tracemalloc.get_traced_memory()[1] < 2**26
        tracemalloc.stop()

    def test_a_pickle(self, model, tmp_path):
        import hashlib

        class Trap:
            def __reduce__(self):
                return Path.mkdir, (tmp_path / "trap",)

        torch.save({"x": Trap()}, model / "weights.pt")
        change(
            model / "config.json", ("weights_sha256",), hashlib.sha256((model / "weights.pt").read_bytes()).hexdigest()
        )
        with pytest.raises(ModelError) as caught:
            DivNoising.load(model)
        one_line(caught.value)
        assert not (tmp_path / "trap").exists()

    @pytest.mark.parametrize("text", ["[" * 50_000, '{"format": ' * 9000, "1" * 5000, "[]", "null", '"x"', ""])
    def test_not_an_object(self, model, text):
        (model / "config.json").write_text(text)
        with pytest.raises(ModelError) as caught:
            DivNoising.load(model)
        one_line(caught.value)


class TestStarDist:
    @pytest.mark.parametrize("value", STRANGE, ids=str)
    @pytest.mark.parametrize(
        "name", ["n_rays", "grid", "unet_n_depth", "unet_n_filter_base", "axes", "unet_kernel_size"]
    )
    def test_types(self, tmp_path, name, value):
        folder = shutil.copytree(STARDIST, tmp_path / "m")
        change(folder / "config.json", (name,), value)
        with pytest.raises(ModelError) as caught:
            segmenter(f"stardist:{folder}")._network()
        one_line(caught.value)

    @pytest.mark.parametrize(
        "size", [{"unet_n_filter_base": 60_000}, {"unet_n_depth": 14}, {"net_conv_after_unet": 60_000}]
    )
    def test_a_network_that_does_not_fit_is_not_made(self, tmp_path, size):
        folder = shutil.copytree(STARDIST, tmp_path / "m")
        for name, value in size.items():
            change(folder / "config.json", (name,), value)
        with pytest.raises(ModelError, match="does not hold the weights of the network"):
            segmenter(f"stardist:{folder}")._network()

    @pytest.mark.parametrize("how", ["link", "external", "virtual", "huge"])
    def test_hdf5_that_points_elsewhere_or_claims_too_much(self, tmp_path, how):
        folder = shutil.copytree(STARDIST, tmp_path / "m")
        with h5py.File(folder / "weights_best.h5", "r+") as file:
            root = file.get("model_weights", file)
            names = []
            root.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            name, shape = names[0], root[names[0]].shape
            values = np.ones(shape, np.float32)
            del root[name]
            with h5py.File(tmp_path / "other.h5", "w") as other:
                other["x"] = values
            (tmp_path / "raw").write_bytes(values.tobytes())
            if how == "link":
                root[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
            elif how == "external":
                root.create_dataset(name, shape, "f4", external=[(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)])
            elif how == "virtual":
                layout = h5py.VirtualLayout(shape, "f4")
                layout[...] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape)
                root.create_virtual_dataset(name, layout)
            else:
                root.create_dataset(name, (10**6, 10**6), "f4", chunks=(1000, 1000))
        with pytest.raises(ModelError, match=r"points at another file|claims"):
            segmenter(f"stardist:{folder}")._network()


class TestNoise:
    @pytest.mark.parametrize("value", STRANGE, ids=str)
    @pytest.mark.parametrize("key", ["a", "low", "log_ends", "floor", "min_variance"])
    def test_types(self, tmp_path, key, value):
        path = tmp_path / "n.json"
        noise.PoissonGaussian(2.0, 30.0, low=10.0, high=900.0, min_variance=4.0).with_limits(0.0, 4000.0).save(path)
        if value in (True, -1, None) or (key in ("a", "floor") and value == 1e308):
            pytest.skip("a number, or nothing")
        change(path, ("noise", key), value)
        with pytest.raises(ModelError) as caught:
            noise.load(path)
        one_line(caught.value)

    @pytest.mark.parametrize("bins", [10**6, 2**40, -1, 0, True, 1.5, "12", None])
    def test_a_table_that_unpacks_to_more(self, tmp_path, bins):
        import base64
        import zlib

        table = base64.b64encode(zlib.compress(bytes(2**26))).decode()
        record = {"kind": "histogram", "bins": bins, "low": 0.0, "high": 9.0, "outliers": 0.001, "table": table}
        (tmp_path / "n.json").write_text(json.dumps({"format": 1, "noise": record}))
        tracemalloc.start()
        with pytest.raises(ModelError):
            noise.load(tmp_path / "n.json")
        assert tracemalloc.get_traced_memory()[1] < 2**25
        tracemalloc.stop()


class TestCalibration:
    @pytest.mark.parametrize("value", STRANGE, ids=str)
    @pytest.mark.parametrize(
        "key",
        [
            "source",
            "iou",
            "coverage",
            "method",
            "n_images",
            "p_true",
            "overlap",
            "found",
            "area",
            "count",
            "risk",
            "check",
        ],
    )
    def test_types(self, tmp_path, key, value):
        allowed = {
            "count": [None, -1],
            "area": [None, [], {}],
            "method": ["x"],
            "check": [{}, {"a": 1}],
            "overlap": [[], {}],
            "found": [None],
            "risk": [None],
        }
        if value in allowed.get(key, []):
            pytest.skip("as it may be")
        path = tmp_path / "c.json"
        curve, risk = Curve([0.0, 1.0], [0.1, 0.9]), RiskCurve(20, [-1.0, 0.5], [0.2, 0.0])
        Calibration("labels", 0.5, 0.9, "clustering", 20, 400, curve, (curve,), 0.9, (0.1, 0.2), 0.05, risk).save(path)
        change(path, (key,), value)
        with pytest.raises(InputError) as caught:
            Calibration.load(path)
        one_line(caught.value)


class TestRun:
    RECORD = {"format": 2, "command": "segment", "inputs": [{"name": "a", "path": "a.tif"}], "config": {}}  # noqa: RUF012

    @pytest.mark.parametrize("value", [True, -1, 10**400, "x", [1], [None], [[1]], [{"name": 1}], [{}]], ids=str)
    @pytest.mark.parametrize("key", ["inputs", "config", "timings", "versions", "training", "calibration", "left_out"])
    def test_types(self, tmp_path, key, value):
        (tmp_path / "run.json").write_text(json.dumps({**self.RECORD, key: value}))
        if key == "left_out" and value in ([{}], [{"name": 1}]):
            pytest.skip("nothing in it is wrong")
        with pytest.raises(InputError) as caught:
            open_run(tmp_path)
        one_line(caught.value)
        with pytest.raises(OutputError):
            RunStore.existing(tmp_path, "segment")

    @pytest.mark.parametrize("rows", [1, [1], [[1, 2]], [[1, 2, "x"]], [[1, 2, None]], {"a": 1}], ids=str)
    def test_points_of_reliability(self, tmp_path, rows):
        record = {**self.RECORD, "calibration": {"reliability": {"p_true": rows}}}
        (tmp_path / "run.json").write_text(json.dumps(record))
        with pytest.raises(InputError, match=r"calibration\.reliability"):
            open_run(tmp_path)

    @pytest.mark.parametrize("file", ["../outside", "/{outside}", "a/../../outside", 5, None, ["x"]])
    def test_a_marker_removes_nothing_outside(self, tmp_path, file):
        store = RunStore(tmp_path / "run", "segment")
        outside = tmp_path / "outside"
        outside.write_text("mine")
        if isinstance(file, str):
            file = file.replace("/{outside}", str(outside))
        marker = Marker("a")
        marker.write(store.marker("a"))
        record = json.loads(store.marker("a").read_text())
        record["stages"] = {"segment": {"key": "k", "files": [file]}}
        store.marker("a").write_text(json.dumps(record))
        read = store.read_marker("a")
        assert not read.stages
        forget(store, read, ["segment"], None)
        assert outside.read_text() == "mine"

    @pytest.mark.parametrize(
        "value", [5, "x", [], {"segment": 1}, {"segment": {"key": 1}}, {"segment": {"files": 3}}], ids=str
    )
    def test_a_damaged_marker_says_that_nothing_is_done(self, tmp_path, value):
        store = RunStore(tmp_path, "segment")
        Marker("a").write(store.marker("a"))
        change(store.marker("a"), ("stages",), value)
        assert not store.read_marker("a").stages
        (tmp_path / "stages.json").write_text(json.dumps(value))
        assert store.read_stages() == {}

    @pytest.mark.parametrize("cell", ["nan", "inf", "x", "", "-1", "1e999", '"', "\x00"])
    def test_tables(self, run_copy, cell):
        text = (run_copy / "images.csv").read_text()
        (run_copy / "images.csv").write_text(text.replace("72", cell))
        run = open_run(run_copy)
        try:
            repr(run)
            assert run.pixel_sizes.keys() == set(run.names)
        except DivsegError as error:
            one_line(error)
