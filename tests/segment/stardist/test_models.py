import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from divseg.errors import DivsegWarning, ModelError
from divseg.segment.stardist.models import REGISTRY, Registered, local_folder, location, model_folder

FILES = [("config.json", "{}"), ("weights_best.h5", b"weights")]


def test_a_registered_model_is_fetched_once_and_again_where_it_is_damaged(site, tmp_path):
    entry = site.offer("m", FILES)
    known = {"registry": [entry], "cache": tmp_path}
    assert location(entry, tmp_path) == "not fetched yet"
    with pytest.raises(ModelError, match=r"it is not fetched yet; run `divseg models fetch m`"):
        local_folder("m", **known)
    with pytest.warns(DivsegWarning, match=f"fetching {entry.url} to "):
        folder = model_folder("m", **known)
    assert folder == tmp_path / "m"
    assert model_folder("m", **known) == local_folder("m", **known) == folder
    assert location(entry, tmp_path) == str(folder)
    assert site.asked == ["/m.zip"]

    (folder / "weights_best.h5").write_bytes(b"weighty")
    assert "damaged: weights_best.h5 was changed" in location(entry, tmp_path)
    with pytest.raises(ModelError, match="was changed; run `divseg models fetch m`"):
        local_folder("m", **known)
    with pytest.warns(DivsegWarning, match=r"damaged \(weights_best.h5 was changed\); fetching it again"):
        model_folder("m", **known)
    assert (folder / "weights_best.h5").read_bytes() == b"weights"
    assert site.asked == ["/m.zip", "/m.zip"]


def test_a_damaged_model_stays_refused_where_it_cannot_be_fetched(site, tmp_path):
    entry = site.offer("m", FILES)
    with pytest.warns(DivsegWarning):
        model_folder("m", registry=[entry], cache=tmp_path)
    (tmp_path / "m" / "config.json").write_text("{ }")
    site.files.clear()
    with pytest.warns(DivsegWarning), pytest.raises(ModelError, match="404"):
        model_folder("m", registry=[entry], cache=tmp_path)


def test_own_folders(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    assert model_folder(tmp_path / "mine") == tmp_path / "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model_folder("~/mine") == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    assert model_folder("mine") == Path("mine")


def test_a_name_goes_before_a_folder_of_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "nuclei").mkdir()
    monkeypatch.chdir(tmp_path)
    entry = Registered("nuclei", 2, 1, "", "")
    assert model_folder("./nuclei", registry=[entry]) == Path("nuclei")
    assert model_folder("nuclei").is_absolute()


def test_unknown_names_and_paths(tmp_path):
    with pytest.raises(ModelError, match=r"did you mean '2D_versatile_fluo'\? \(models: nuclei, 2D_versatile_fluo, "):
        model_folder("2d_versatile_flou")
    with pytest.raises(ModelError, match=r"no StarDist model and no folder 'qqqq' \(models"):
        model_folder("qqqq")
    with pytest.raises(ModelError, match="there is no such folder; correct the path"):
        model_folder(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="this is a file"):
        model_folder(tmp_path / "file")


def test_a_shipped_model_that_is_missing_is_an_error():
    with pytest.raises(ModelError, match="install divseg again"):
        model_folder("no_such", registry=[Registered("no_such", 2, 1, "", "")])


def test_the_registry_is_that_of_stardist():
    """Addresses and checksums are those in stardist's own source, which cannot be imported without TensorFlow."""
    import importlib.util

    found = importlib.util.find_spec("stardist")
    source = (Path(found.origin).parent / "models" / "__init__.py").read_text(encoding="utf-8")
    official = [entry for entry in REGISTRY if entry.url]
    assert [entry.name for entry in REGISTRY if entry not in official] == ["nuclei"]
    assert len(official) == source.count("register_model(StarDist")
    for entry in official:
        line = next(line for line in source.splitlines() if line.startswith("register_model") and entry.url in line)
        assert entry.sha256 in line
        assert f"StarDist{entry.ndim}D" in line
        assert urlsplit(entry.url).scheme == "https"


def divseg(*words, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-m", "divseg", "models", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_command_line(site, tmp_path):
    cache = {"DIVSEG_CACHE": str(tmp_path)}
    listed = divseg("list", **cache)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("not fetched yet") == len(REGISTRY) - 1
    for entry in REGISTRY:
        assert f"{entry.name}: {entry.ndim}-D" in listed.stdout
    shipped = divseg("path", "nuclei", **cache)
    assert (Path(shipped.stdout.strip()) / "config.json").is_file(), shipped.stderr
    wrong = divseg("fetch", "3D_dmo", **cache)
    assert wrong.returncode == 2
    assert "did you mean '3D_demo'?" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    # a proxy that refuses: the network is unreachable, whatever this computer is connected to
    refused = divseg("fetch", "3D_demo", https_proxy=site.root, HTTPS_PROXY=site.root, no_proxy="", **cache)
    assert refused.returncode == 2
    assert f"put the file at {tmp_path / 'stardist' / '3D_demo.zip'}" in refused.stderr
    assert "Traceback" not in refused.stderr
