"""Runs that consist of a few tables, for what the numbers of a real run cannot show."""

import json
from itertools import count

import pandas as pd
import pytest

from divseg.results.open_run import open_run


@pytest.fixture
def table_run(tmp_path):
    """Return a function that writes run.json and tables to a folder of their own, and opens it."""
    numbers = count()

    def make(record=None, **tables):
        folder = tmp_path / f"tables{next(numbers)}"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"format": 2, "command": "run", **(record or {})}))
        for name, table in tables.items():
            pd.DataFrame(table).to_csv(folder / f"{name}.csv", index=False)
        return open_run(folder)

    return make
