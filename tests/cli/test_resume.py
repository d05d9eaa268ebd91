"""`divseg train` goes on by itself from a checkpoint of the same training."""

from functools import partial

import pytest
from typer.testing import CliRunner

from divseg.cli.commands import app
from divseg.config import RunConfig
from divseg.denoise import DivNoising, TrainSettings, divnoising
from divseg.errors import OutputError
from divseg.workflow.progress import LogReporter
from divseg.workflow.train import train_folder

CONFIG = RunConfig.make(train_steps=12, device="cpu", noise="gaussian,std=12", network="flat,filters=4,latents=4")


class Killed(Exception):
    pass


class Killer(LogReporter):
    def training(self, row):
        if row["step"] >= 10:
            raise Killed


def test_train_is_cut_off_and_goes_on(make_plate, tmp_path, monkeypatch):
    often = partial(TrainSettings, batch=2, patch=32, checkpoint_every=4, report_every=2)
    monkeypatch.setattr(divnoising, "TrainSettings", often)
    images, _ = make_plate(tmp_path / "plate", n=1)
    out = tmp_path / "model"
    with pytest.raises(Killed):
        train_folder(images, out, CONFIG, reporter=Killer())
    assert sorted(p.name for p in out.iterdir()) == ["checkpoint.pt", "training.jsonl"]
    words = ["train", str(images), "--out", str(out), "--train-steps", "12", "--device", "cpu", "-q"]
    done = CliRunner().invoke(
        app, [*words, "--noise", CONFIG.noise.noise, "--network", CONFIG.training.network], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    model = DivNoising.load(out, device="cpu")
    assert model.training["steps"] == 12
    assert model.training["resumed"] == 1
    assert (out / "training.png").is_file()
    assert not (out / "checkpoint.pt").exists()


def test_a_folder_of_other_things_is_refused_before_training(make_plate, tmp_path):
    images, _ = make_plate(tmp_path / "plate", n=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="holds no divseg model"):
        train_folder(images, tmp_path / "other", CONFIG)
