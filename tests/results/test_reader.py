import json

import numpy as np
import pandas as pd
import pytest

from divseg.errors import InputError
from divseg.results.reader import column, read_table, read_training_log, text


def test_column_is_numbers_or_nan():
    table = pd.DataFrame({"a": ["1.5", "", "x", "inf", "-2"]})
    np.testing.assert_array_equal(column(table, "a"), [1.5, np.nan, np.nan, np.nan, -2])
    np.testing.assert_array_equal(column(table, "b"), [np.nan] * 5)
    assert text(table, "b") == [""] * 5


@pytest.mark.parametrize("name", ["NA", "001", "nan", "1e5", "", " ", "None", "a,b", 'q"q', "ü\u2028"])
def test_image_names_come_back_as_written(tmp_path, name):
    pd.DataFrame({"image": [name], "n_objects": [3]}).to_csv(tmp_path / "images.csv", index=False)
    table = read_table(tmp_path / "images.csv")
    assert text(table, "image") == [name]
    assert column(table, "n_objects")[0] == 3


def test_numbers_come_back_to_the_last_digit_and_empty_cells_are_nan(tmp_path):
    values = [0.1 + 0.2, 1e-300, np.nan, 123456789.123456789]
    pd.DataFrame({"image": list("abcd"), "x": values, "file": [None] * 4}).to_csv(tmp_path / "t.csv", index=False)
    table = read_table(tmp_path / "t.csv")
    np.testing.assert_array_equal(table["x"], values)
    assert table["file"].tolist() == [""] * 4


def test_no_file_is_an_empty_table(tmp_path):
    assert read_table(tmp_path / "t.csv").empty


@pytest.mark.parametrize("content", [b"", b"{\xff\xfe", b'a,b\n"1,2,3\n'])
def test_damaged_tables_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.csv: this is not a table of a run") as caught:
        read_table(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


def write_log(folder, lines):
    (folder / "training.jsonl").write_text("\n".join(lines) + "\n")


def test_the_training_log_becomes_a_table(tmp_path):
    rows = [{"step": k, "loss": 1.0 / (k + 1), "kl": 0.02, "active": 3} for k in range(9)]
    rows[4]["val_loss"] = 1.1
    write_log(tmp_path, [json.dumps(row) for row in rows])
    for path in (tmp_path, tmp_path / "training.jsonl"):
        table = read_training_log(path)
        assert table["step"].tolist() == list(range(9))
        assert table["val_loss"].notna().sum() == 1
    write_log(tmp_path, [])
    assert read_training_log(tmp_path).empty


@pytest.mark.parametrize(
    ("lines", "message"),
    [(None, "no training log"), (['{"step": 1}'], "lacks active, kl, loss"), (['{"step": 1', ""], "line 1 is damaged")],
)
def test_logs_that_cannot_be_read(tmp_path, lines, message):
    if lines is not None:
        write_log(tmp_path, lines)
    with pytest.raises(InputError, match=message):
        read_training_log(tmp_path)


@pytest.mark.parametrize("cell", ["9" * 400, "-" + "9" * 400, "1e999", "inf", "x", ""])
def test_what_is_not_a_number_that_a_float_can_hold_is_nan(tmp_path, cell):
    path = tmp_path / "t.csv"
    path.write_text(f"image,x\na,{cell}\nb,2\n")
    values = column(read_table(path), "x")
    assert np.isnan(values[0])
    assert values[1] == 2
