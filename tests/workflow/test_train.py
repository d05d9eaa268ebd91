"""`divseg train`: a model folder that is a run folder too, and goes on by itself from a checkpoint."""

import json
import os
import shutil
import signal
from functools import partial

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

from divseg.cli.commands import app
from divseg.config import RunConfig
from divseg.denoise import DivNoising, TrainSettings, divnoising
from divseg.denoise.training.trainer import Trainer
from divseg.errors import ConfigError, InputError, OutputError
from divseg.results import RunStore
from divseg.results.open_run import open_run
from divseg.workflow.finalize import finalize
from divseg.workflow.progress import LogReporter, Terminated
from divseg.workflow.train import train_folder

CONFIG = RunConfig.make(train_steps=12, device="cpu", noise="gaussian,std=12", network="flat,filters=4,latents=4")
WORDS = ["--train-steps", "12", "--device", "cpu", "-q", "--noise", "gaussian,std=12"]
MODEL = {"README.md", "config.json", "training.jsonl", "training.png", "weights.pt"}


class Killed(Exception):
    pass


class Stopper(LogReporter):
    """Ends the training at its tenth step."""

    def __init__(self, stop):
        super().__init__()
        self.stop = stop

    def training(self, row):
        if row["step"] >= 10:
            self.stop()


def kill():
    raise Killed


@pytest.fixture(scope="module")
def images(make_plate, tmp_path_factory):
    return make_plate(tmp_path_factory.mktemp("plate"), n=2)[0]


@pytest.fixture(autouse=True)
def often(monkeypatch):
    settings = partial(TrainSettings, batch=2, patch=32, checkpoint_every=4, report_every=2)
    monkeypatch.setattr(divnoising, "TrainSettings", settings)


@pytest.fixture
def trained(images, tmp_path):
    return train_folder(images, tmp_path / "model", CONFIG)


def test_the_folder_is_a_model_and_a_run(trained):
    out = trained.out
    assert {path.name for path in out.iterdir()} >= MODEL | {"images.csv", "failures.csv", "run.json", "run.log"}
    assert not (out / "checkpoint.pt").exists()
    assert DivNoising.load(out, device="cpu").training["steps"] == 12
    run = trained.open()
    assert (run.command, run.names, len(run.failures)) == ("train", ["cell0", "cell1"], 0)
    assert run.model.training == run.record["training"]
    assert run.training_log["step"].iloc[-1] == 12
    assert run.images_table[["height", "width"]].to_numpy().tolist() == [[72, 80]] * 2
    assert run.config["training"]["train_steps"] == 12
    timings = run.record["timings"]
    assert timings["total_s"] >= timings["model_s"] > 0
    assert "trained on 2 of 2 images: Gaussian noise" in trained.text


def test_the_same_again_does_nothing_and_other_settings_train_anew(images, trained, monkeypatch, caplog):
    out, weights = trained.out, (trained.out / "weights.pt").read_bytes()
    runs, original = [], Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda *words, **options: runs.append(1) or original(*words, **options))
    with caplog.at_level("INFO", logger="divseg"):
        again = train_folder(images, out, CONFIG)
    assert (again.n_images, again.n_failed, runs) == (2, 0, [])
    assert f"model: {out}, made before" in caplog.text
    for path in images.iterdir():
        os.utime(path)
    train_folder(images, out, CONFIG)
    assert runs == [], "a touched file holds what it held"
    plan = train_folder(images, out, CONFIG, dry_run=True)
    assert "check: 2 done, 0 to do\nmodel: 1 done, 0 to do\n" in plan.text
    assert "model: 0 done, 1 to do" in train_folder(images, out, CONFIG, dry_run=True, redo=("model",)).text
    train_folder(images, out, CONFIG, redo=("model",))
    assert len(runs) == 1
    assert (out / "weights.pt").read_bytes() == weights
    plain = train_folder(images, out, CONFIG.replace(train_steps=10))
    assert (len(runs), plain.open().model.training["steps"]) == (2, 10)
    train_folder(images, out, CONFIG)
    other = CONFIG.replace(seed=1)
    with pytest.raises(Killed):
        train_folder(images, out, other, reporter=Stopper(kill))
    assert DivNoising.load(out, device="cpu").training["seed"] == 0, "the old model is there until the new one is whole"
    assert train_folder(images, out, other).open().model.training["seed"] == 1
    assert (out / "weights.pt").read_bytes() != weights


def test_other_pixels_train_anew(images, tmp_path):
    folder = shutil.copytree(images, tmp_path / "images")
    first = train_folder(folder, tmp_path / "out", CONFIG).open().model.training
    noisy = tifffile.imread(folder / "cell1.tif")
    tifffile.imwrite(folder / "cell1.tif", noisy[::-1])
    assert train_folder(folder, tmp_path / "out", CONFIG).open().model.training["loss"] != first["loss"]


def test_there_are_no_shards_to_finalize(trained):
    with pytest.raises(InputError, match="holds the results of divseg train, which has no shards"):
        finalize(trained.out)


def test_it_is_cut_off_and_goes_on(images, tmp_path):
    out = tmp_path / "model"
    with pytest.raises(Killed):
        train_folder(images, out, CONFIG, reporter=Stopper(kill))
    assert (out / "checkpoint.pt").is_file()
    words = ["train", str(images), "--out", str(out), *WORDS, "--network", CONFIG.training.network]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    model = DivNoising.load(out, device="cpu")
    assert model.training["steps"] == 12
    assert model.training["resumed"] == 1
    assert (out / "training.png").is_file()
    assert not (out / "checkpoint.pt").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals work differently on Windows")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_an_interruption_is_recorded(images, tmp_path, number, error):
    out = tmp_path / "model"
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(error) as caught:
            train_folder(images, out, CONFIG, reporter=Stopper(lambda: os.kill(os.getpid(), number)))
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert type(caught.value) is error
    assert open_run(out).record["interrupted"]
    assert pd.read_csv(out / "images.csv")["image"].tolist() == ["cell0", "cell1"]
    run = train_folder(images, out, CONFIG).open()
    assert not run.record["interrupted"]
    assert run.model.training["resumed"] == 1


def test_images_that_cannot_be_trained_on_are_rows(images, tmp_path):
    folder = shutil.copytree(images, tmp_path / "images")
    tifffile.imwrite(folder / "small.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
    (folder / "text.tif").write_text("no image")
    plan = train_folder(folder, tmp_path / "out", CONFIG, dry_run=True)
    assert (plan.n_images, plan.n_failed) == (2, 2)
    assert "rates measured on the first image" in plan.text
    assert not (tmp_path / "out").exists()
    result = train_folder(folder, tmp_path / "out", CONFIG)
    assert (result.n_images, result.n_failed) == (2, 2)
    assert pd.read_csv(tmp_path / "out" / "failures.csv")["image"].tolist() == ["text", "small"]
    assert result.open().model.training["images"] == 2
    (folder / "small.tif").unlink()
    (folder / "text.tif").unlink()
    stages = json.loads((tmp_path / "out" / "stages.json").read_text())
    assert train_folder(folder, tmp_path / "out", CONFIG).n_failed == 0
    assert json.loads((tmp_path / "out" / "stages.json").read_text()) == stages, "the same images: the same model"


def test_none_can_be_trained_on(tmp_path):
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "small.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
    with pytest.raises(InputError, match=r"none of the images can be trained on; see .*failures\.csv"):
        train_folder(tmp_path / "images", tmp_path / "out", CONFIG)
    assert "smaller than" in pd.read_csv(tmp_path / "out" / "failures.csv")["error"][0]
    words = ["train", str(tmp_path / "images"), "--out", str(tmp_path / "out"), *WORDS]
    assert [CliRunner().invoke(app, [*words, *more]).exit_code for more in ([], ["--dry-run"])] == [2, 2]


@pytest.mark.parametrize("dry_run", [False, True])
def test_wrong_use_is_told_before_training(images, tmp_path, dry_run):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    RunStore(tmp_path / "run")
    train = partial(train_folder, images, config=CONFIG, dry_run=dry_run)
    with pytest.raises(OutputError, match="this folder is not empty and not of a divseg run"):
        train(out=tmp_path / "other")
    with pytest.raises(OutputError, match="holds the results of divseg run; choose another --out"):
        train(out=tmp_path / "run")
    with pytest.raises(InputError, match="lies inside the input folder"):
        train(out=images / "model")
    with pytest.raises(ConfigError, match="unknown stage 'modle' to redo; did you mean 'model'"):
        train(out=tmp_path / "model", redo=("modle",))
    with pytest.raises(ConfigError, match="did you mean 'gaussian'"):
        train_folder(images, tmp_path / "model", CONFIG.replace(noise="gausian"), dry_run=dry_run)
    assert not (tmp_path / "model").exists()
