import errno
import json
import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from divseg.errors import OutputError
from divseg.io import write_bytes, write_csv, write_json, write_labels, write_text
from divseg.io.atomic import replacing


def test_bytes_text_json_csv(tmp_path):
    write_bytes(tmp_path / "deep" / "a.bin", b"abc")
    assert (tmp_path / "deep" / "a.bin").read_bytes() == b"abc"
    write_text(tmp_path / "a.txt", "µm\n")
    assert (tmp_path / "a.txt").read_bytes() == "µm\n".encode()
    value = {"a": np.float32(0.5), "b": np.arange(3), "c": tmp_path, "d": (1, None, True), "e": [math.nan]}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail) == {
        "a": 0.5,
        "b": [0, 1, 2],
        "c": str(tmp_path),
        "d": [1, None, True],
        "e": [None],
    }
    write_json(tmp_path / "a.json", value, nan=True)
    assert math.isnan(json.loads((tmp_path / "a.json").read_text())["e"][0])
    table = pd.DataFrame({"image": ["a"], "x": [1 / 3]})
    write_csv(tmp_path / "a.csv", table)
    assert (tmp_path / "a.csv").read_bytes() == b"image,x\na,0.3333333333333333\n"
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        write_json(tmp_path / "b.json", {"a": object()})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.json", "a.txt", "deep"]


def test_an_exception_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def interrupted():
        with replacing(path) as file:
            file.write(b"half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_disk_full(tmp_path, monkeypatch, function):
    path = tmp_path / "a.tif"
    write_labels(path, np.array([[0, 1]]))
    old = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OutputError, match=r"a\.tif: it could not be written \(No space left.*free some space"):
        write_labels(path, np.array([[0, 2]]))
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.skipif(os.name == "nt", reason="no limits on file sizes")
def test_a_real_write_that_fails_halfway(tmp_path):
    """The kernel refuses to let the file grow: the same path as a full disk, with nothing replaced."""
    code = """
        import resource, signal, sys
        import numpy as np
        from divseg.errors import OutputError
        from divseg.io import write_image
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            write_image(sys.argv[1], np.ones((300, 300)))
        except OutputError as error:
            print(error)
    """
    path = tmp_path / "a.tif"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, check=True
    )
    assert str(path) in done.stdout
    assert "could not be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_no_rights(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="check the rights"):
        write_text(tmp_path / "a.txt", "x")


def test_folder_in_the_way(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match=r"a\.txt: it could not be written"):
        write_text(tmp_path / "a.txt", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
