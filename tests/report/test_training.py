import json

import pytest
from PIL import Image

from divseg.errors import InputError
from divseg.report.training import read_training_log, write_training_plot


def rows(n=30):
    out = []
    for k in range(n):
        row = {"step": 25 * (k + 1), "loss": 1.0 + 1.0 / (k + 1), "kl": 0.02, "active": 3, "beta": 1.0, "skipped": 0}
        out.append(row | ({"val_loss": 1.1, "val_kl": 0.02, "val_active": 3} if k % 10 == 9 else {}))
    return out


def write(folder, lines):
    (folder / "training.jsonl").write_text("\n".join(lines) + "\n")


def test_the_log_becomes_a_table_and_a_plot(tmp_path):
    write(tmp_path, [json.dumps(row) for row in rows()])
    table = read_training_log(tmp_path)
    assert len(table) == 30
    assert table["val_loss"].notna().sum() == 3
    path = write_training_plot(tmp_path)
    with Image.open(path) as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("L").getcolors()) > 20  # something is drawn


@pytest.mark.parametrize(
    ("lines", "message"),
    [(None, "no training log"), ([], "empty"), (['{"step": 1}'], "lacks"), (['{"step": 1', ""], "line 1 is damaged")],
)
def test_logs_that_cannot_be_read(tmp_path, lines, message):
    if lines is not None:
        write(tmp_path, lines)
    with pytest.raises(InputError, match=message):
        read_training_log(tmp_path)
