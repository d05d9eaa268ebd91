import hashlib
import os
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from divseg.errors import ModelError, OutputError
from divseg.segment.stardist.download import cache_folder, fetch, verify

FILES = [
    ("config.json", "{}"),
    ("thresholds.json", '{"prob": 0.5, "nms": 0.4}'),
    ("weights_best.h5", b"\x89HDF" * 9999),
]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("prefix", ["", "some_model/", "a/b/"])
def test_a_model_arrives_whole_and_leaves_nothing_else(site, tmp_path, prefix):
    extra = [(f"{prefix}TF_SavedModel.zip", "big"), ("elsewhere/notes.json", "{}"), (f"{prefix}read.me", "")]
    entry = site.offer("m", [(prefix + name, data) for name, data in FILES] + extra)
    folder = tmp_path / "cache" / "m"
    fetch(entry.url, entry.sha256, folder)
    assert names(folder) == ["config.json", "divseg.json", "thresholds.json", "weights_best.h5"]
    assert (folder / "weights_best.h5").read_bytes() == FILES[2][1]
    assert names(folder.parent) == ["m"]
    assert verify(folder, entry.sha256) is None


def test_damage_of_every_kind_is_seen(site, tmp_path):
    entry = site.offer("m", FILES)
    folder = tmp_path / "m"
    fetch(entry.url, entry.sha256, folder)
    assert verify(folder, "0" * 64) == "it comes from another archive"
    (folder / "weights_best.h5").write_bytes(b"short")
    assert verify(folder, entry.sha256) == "weights_best.h5 was changed"
    (folder / "weights_best.h5").unlink()
    assert verify(folder, entry.sha256) == "weights_best.h5 is missing or unreadable"
    (folder / "divseg.json").write_text("[]")
    assert verify(folder, entry.sha256) == "divseg.json is missing or unreadable"
    fetch(entry.url, entry.sha256, folder)
    assert verify(folder, entry.sha256) is None
    assert names(tmp_path) == ["m"]


def test_another_archive_than_the_registered_one_is_not_unpacked(site, tmp_path):
    entry = site.offer("m", FILES, sha256="ab" * 32)
    with pytest.raises(ModelError, match=r"not the registered archive .*not abababababab") as caught:
        fetch(entry.url, entry.sha256, tmp_path / "m")
    assert entry.url in str(caught.value)
    assert str(tmp_path / "m.zip") in str(caught.value)
    assert names(tmp_path) == []


def test_a_connection_that_breaks_is_told(site, tmp_path):
    entry = site.offer("m", FILES)
    site.cut_short = 100
    with pytest.raises(ModelError, match="the connection closed 100 bytes early"):
        fetch(entry.url, entry.sha256, tmp_path / "m")
    assert names(tmp_path) == []


def test_a_missing_file_and_a_missing_server(site, tmp_path):
    with pytest.raises(ModelError, match="the server answered 404"):
        fetch(f"{site.root}/none.zip", "0" * 64, tmp_path / "m")
    gone = site.root
    site.server.server_close()
    with pytest.raises(ModelError, match=r"could not be downloaded .* connect to the network") as caught:
        fetch(f"{gone}/m.zip", "0" * 64, tmp_path / "m")
    assert f"put the file at {tmp_path / 'm.zip'}, and run the same command again" in str(caught.value)


def test_a_file_fetched_by_hand_is_used_without_the_network(site, make_archive, tmp_path):
    data = make_archive(FILES)
    (tmp_path / "m.zip").write_bytes(data)
    fetch(f"{site.root}/m.zip", hashlib.sha256(data).hexdigest(), tmp_path / "m")
    assert site.asked == []
    assert (tmp_path / "m" / "config.json").is_file()

    with pytest.raises(ModelError, match="the file that is there now is another one"):
        fetch(f"{site.root}/m.zip", "0" * 64, tmp_path / "m")
    assert site.asked == ["/m.zip"]


@pytest.mark.parametrize("name", ["../config.json", "a/../../config.json", "/etc/config.json", "c:/x.h5", "..\\x.h5"])
def test_an_archive_that_reaches_out_of_its_folder_is_refused(site, tmp_path, name):
    entry = site.offer("m", [*FILES, (name, "evil")])
    with pytest.raises(ModelError, match="reaches out of its folder"):
        fetch(entry.url, entry.sha256, tmp_path / "cache" / "m")
    assert names(tmp_path) == ["cache"]
    assert names(tmp_path / "cache") == []


def test_a_link_in_an_archive_is_refused(site, tmp_path):
    link = zipfile.ZipInfo("weights_last.h5")
    link.external_attr = 0o120777 << 16
    entry = site.offer("m", [*FILES, (link, "/etc/passwd")])
    with pytest.raises(ModelError, match="reaches out of its folder"):
        fetch(entry.url, entry.sha256, tmp_path / "m")


@pytest.mark.parametrize(
    ("files", "message"),
    [([("weights_best.h5", "")], "no config.json"), ([("a/config.json", ""), ("b/config.json", "")], "several")],
)
def test_an_archive_without_one_model_is_refused(site, tmp_path, files, message):
    entry = site.offer("m", files)
    with pytest.raises(ModelError, match=message):
        fetch(entry.url, entry.sha256, tmp_path / "m")
    assert names(tmp_path) == []


def test_a_file_that_is_no_archive_is_refused(site, tmp_path):
    site.files["/m.zip"] = b"<html>please log in</html>"
    with pytest.raises(ModelError, match="cannot be unpacked"):
        fetch(f"{site.root}/m.zip", hashlib.sha256(site.files["/m.zip"]).hexdigest(), tmp_path / "m")


def test_a_cache_that_cannot_be_written(site, tmp_path):
    entry = site.offer("m", FILES)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        fetch(entry.url, entry.sha256, tmp_path / "file" / "m")


def test_many_at_once_leave_one_good_model(site, tmp_path):
    entry = site.offer("m", FILES)
    errors = []

    def work():
        try:
            fetch(entry.url, entry.sha256, tmp_path / "m")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert verify(tmp_path / "m", entry.sha256) is None
    assert names(tmp_path) == ["m"]


def test_the_cache_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("DIVSEG_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("DIVSEG_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "divseg"
    monkeypatch.setenv("XDG_CACHE_HOME", f"relative{os.sep}path")  # the standard says: ignore it
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    places = {"linux": ".cache/divseg", "darwin": "Library/Caches/divseg", "win32": "AppData/Local/divseg/cache"}
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    for platform, place in places.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_folder() == tmp_path / place
