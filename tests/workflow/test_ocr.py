import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import divseg
from divseg.denoise import FlatConfig, TrainSettings
from divseg.errors import ConfigError, ExtraRequired
from divseg.io import read
from divseg.ocr import as_page, engines, fuse_readings
from divseg.workflow.finalize import finalize
from divseg.workflow.ocr import ReadSettings, read_folder
from divseg.workflow.sharing import Options

sys.path.insert(0, str(Path(__file__).parent.parent / "ocr"))
from typewriter import TemplateEngine, typed

TEXT = {"one": ["fox and dog", "can hum"], "two": ["seven bags", "of good ham"]}
BIG = 3
"""Enlargement of the letters, which a network of seconds does not blur."""
HOW = ReadSettings(samples=4, engine="template", scale=1)


class BigLetters(TemplateEngine):
    """The matcher of glyphs for enlarged letters."""

    def __call__(self, page):
        height, width = (side // BIG for side in page.shape)
        small = page[: height * BIG, : width * BIG].reshape(height, BIG, width, BIG).mean(axis=(1, 3))
        return super().__call__(small).scaled(BIG)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Two noisy pages, one of them upside down, and a page without text."""
    folder = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    for name, lines in TEXT.items():
        page = np.kron(typed(lines, (80, 182)), np.ones((BIG, BIG)))
        page = page[::-1, ::-1] if name == "two" else page
        tifffile.imwrite(folder / f"{name}.tif", (page + rng.normal(0, 15, page.shape)).astype(np.float32))
    tifffile.imwrite(folder / "white.tif", (200 + rng.normal(0, 15, (BIG * 80, BIG * 182))).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def model(pages, tmp_path_factory):
    settings = TrainSettings(patch=32, report_every=20, validate_every=50)
    network = FlatConfig(filters=8, latents=8)
    trained = divseg.DivNoising.fit(
        read(pages), noise="gaussian,std=15", train_steps=200, network=network, settings=settings, device="cpu"
    )
    return trained.save(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(autouse=True)
def _known_engine(monkeypatch):
    """The matcher of glyphs is an engine like any other."""
    monkeypatch.setitem(engines.OPTIONS, "template", {})
    monkeypatch.setitem(engines._MAKERS, "template", lambda name, values: BigLetters())


def test_pages_are_read_and_what_is_odd_is_said(pages, model, tmp_path):
    result = read_folder(pages, model, tmp_path / "out", HOW, device="cpu")
    assert (result.n_images, result.n_failed) == (3, 0)
    words = pd.read_csv(result.out / "words.csv")
    loaded, engine = divseg.DivNoising.load(model, device="cpu"), BigLetters()
    for image in read(pages)[:2]:  # what the command writes is what its parts give
        samples = loaded.draw(image, range(4))
        page = as_page(samples.mean(axis=0), engine, (1,))
        direct = fuse_readings([page.read(sample, engine) for sample in samples])  # a quarter of four is one
        found = (result.out / "text" / f"{image.name}.txt").read_text()
        assert found == direct.text
        assert sum(word in found.split() for word in " ".join(TEXT[image.name]).split()) >= 4
        assert words.loc[words["image"] == image.name, "text"].tolist() == found.split()
    assert words["image"].unique().tolist() == ["one", "two"]
    assert words["confidence"].between(0, 1).all()
    images = pd.read_csv(result.out / "images.csv").set_index("image")
    assert images["n_words"].to_dict() == {"one": 5, "two": 5, "white": 0}
    assert images["upside_down"].to_dict() == {"one": False, "two": True, "white": False}
    assert "upside down" in images.loc["two", "warnings"]
    assert "no text was found" in images.loc["white", "warnings"]
    assert "10 words" in result.text
    page = (result.out / "report.html").read_text()
    assert "No text was found" in page
    assert "bags" in page


def test_doubtful_words_are_on_the_page_and_changing_the_limit_reads_nothing_again(pages, model, tmp_path):
    read_folder(pages, model, tmp_path / "out", HOW, device="cpu")
    strict = ReadSettings(samples=4, engine="template", scale=1, doubtful=1.0)
    table = pd.read_csv(tmp_path / "out" / "words" / "one.csv")
    word = table.loc[1, "text"]
    table.loc[1, ["confidence", "alternatives"]] = [0.6, "anb:0.25 -:0.15"]
    table.to_csv(tmp_path / "out" / "words" / "one.csv", index=False)
    read_folder(pages, model, tmp_path / "out", strict, device="cpu", options=Options(redo=("report",)))
    page = (tmp_path / "out" / "report.html").read_text()
    assert (
        page.count('<img src="data:image/png') == (pd.read_csv(tmp_path / "out" / "words.csv")["confidence"] < 1).sum()
    )
    assert f'<mark title="0.60; anb 0.25; - 0.15">{word}</mark>' in page


def test_shards_give_what_one_process_gives(pages, model, tmp_path):
    whole = read_folder(pages, model, tmp_path / "whole", HOW, device="cpu")
    for part in (1, 2):
        read_folder(pages, model, tmp_path / "parts", HOW, device="cpu", options=Options(shard=(part, 2)))
    result = finalize(tmp_path / "parts")
    assert (result.out / "words.csv").read_bytes() == (whole.out / "words.csv").read_bytes()
    assert (result.out / "report.html").exists()


def test_wrong_use_is_told_before_any_work(pages, model, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="samples=0"):
        ReadSettings(samples=0)
    with pytest.raises(ConfigError, match="group=5"):
        ReadSettings(samples=4, group=5)
    with pytest.raises(ConfigError, match="scale=9"):
        ReadSettings(scale=9)
    with pytest.raises(ConfigError, match="doubtful=2"):
        ReadSettings(doubtful=2)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ExtraRequired, match="apt install tesseract-ocr"):
        read_folder(pages, model, tmp_path / "out", ReadSettings(engine="tesseract"), device="cpu")
    assert not (tmp_path / "out").exists()
