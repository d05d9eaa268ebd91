import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from divseg.errors import ConfigError, ExtraRequired, InputError
from divseg.ocr import text_engine
from divseg.ocr.engines import importlib as engines_importlib
from divseg.ocr.tesseract import Tesseract, parse_tsv

TEXT = ["the quick brown fox", "jumps over the lazy dogs."]
needs_tesseract = pytest.mark.skipif(
    shutil.which("tesseract") is None, reason="needs the program tesseract (apt install tesseract-ocr)"
)


def printed():
    """Return a page as a printer sets it, with letters of their own widths."""
    page = Image.new("L", (440, 110), 230)
    ImageDraw.Draw(page).multiline_text((20, 15), "\n".join(TEXT), fill=20, font=ImageFont.load_default(30))
    return np.asarray(page)


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(engines_importlib.util, "find_spec", lambda name: None)


def test_without_an_engine_extra_and_package_are_named(nothing_installed):
    with pytest.raises(ExtraRequired, match=r"no text engine.*divseg\[ocr\].*apt install tesseract-ocr"):
        text_engine()
    with pytest.raises(ExtraRequired, match=r"tesseract is not installed.*tesseract-ocr.*divseg\[ocr\]"):
        text_engine("tesseract")


def test_a_program_is_taken_if_the_package_is_absent(nothing_installed, monkeypatch, tmp_path):
    program = tmp_path / "tesseract"
    program.write_text("#!/bin/sh\necho 'List of languages (1):'\necho eng\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert text_engine("auto").name == "tesseract"
    half = {"rapidocr": object()}  # without ONNX Runtime it cannot read
    monkeypatch.setattr(engines_importlib.util, "find_spec", half.get)
    assert text_engine("auto").name == "tesseract"


def test_mistakes_are_told():
    with pytest.raises(ConfigError, match="unknown text engine 'tesserakt'; did you mean 'tesseract'"):
        text_engine("tesserakt")
    with pytest.raises(ConfigError, match="psm must be an integer from 3 to 13"):
        text_engine("tesseract,psm=2")
    with pytest.raises(ConfigError, match="lang must be a code"):
        text_engine("tesseract,lang=-x")
    with pytest.raises(ConfigError, match="'rapidocr' has no option 'lang'"):
        text_engine("rapidocr,lang=eng")


def test_the_table_of_tesseract_is_read():
    names = "level page_num block_num par_num line_num word_num left top width height conf text"
    head = names.split()
    rows = [
        ["4", "1", "1", "1", "1", "0", "5", "6", "40", "9", "-1", ""],
        ["5", "1", "1", "1", "1", "1", "5", "6", "20", "9", "91.5", 'say"'],
        ["5", "1", "1", "1", "1", "2", "30", "6", "15", "9", "-1", " "],
        ["5", "1", "1", "1", "2", "1", "5", "20", "20", "9", "12", "x"],
    ]
    reading = parse_tsv("\n".join("\t".join(row) for row in [head, *rows]))
    assert reading.text == 'say"\nx\n'
    word = reading.lines[0].words[0]
    assert (word.confidence, word.box.right, word.box.bottom) == (0.915, 25, 15)


@needs_tesseract
def test_tesseract_reads_and_knows_its_languages():
    engine = text_engine("tesseract,psm=6")
    assert engine.name == "tesseract,psm=6"
    reading = engine(printed())
    found, true = reading.text.split(), " ".join(TEXT).split()
    assert sum(word in found for word in true) >= 6
    assert reading.certainty > 10
    assert engine(np.full((60, 80), 200, np.uint8)).text == ""
    with pytest.raises(ConfigError, match=r"no language 'xyz' \(installed: .*eng.*apt install tesseract-ocr-xyz"):
        text_engine("tesseract,lang=eng+xyz")


def test_a_program_that_fails_is_one_line(monkeypatch, tmp_path):
    program = tmp_path / "tesseract"
    program.write_text(
        "#!/bin/sh\nif [ $1 = --list-langs ]; then echo List; echo eng; else echo bad page >&2; exit 3; fi\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(InputError, match=r"tesseract failed with exit code 3 \(bad page\)"):
        Tesseract("tesseract")(np.zeros((4, 4), np.uint8))


def test_rapidocr_reads():
    pytest.importorskip("rapidocr", reason='needs RapidOCR: pip install "divseg[ocr]"')
    engine = text_engine("rapidocr")
    found = engine(printed()).text.split()
    assert sum(word in found for word in " ".join(TEXT).split()) >= 6
    assert engine(np.full((60, 80), 200, np.uint8)).text == ""
