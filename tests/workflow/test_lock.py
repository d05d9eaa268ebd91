"""Locks of a run's folder, with real processes."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from divseg.errors import OutputError
from divseg.workflow import lock
from divseg.workflow.lock import exclusive, run_lock

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from divseg.workflow.lock import exclusive, run_lock
kind, folder, *rest = sys.argv[1:]
if kind == "run":
    context = run_lock(folder, rest[0], eval(rest[1]))
else:
    context = exclusive(folder, rest[0])
with context:
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def process_with(kind, folder, *rest):
    """Another process that holds a lock until the block ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", HOLD, kind, folder, *rest], env=environment, **pipes)
    with process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def files(folder):
    return sorted(path.name for path in (folder / ".lock").iterdir())


def test_one_run_at_a_time(tmp_path):
    out = tmp_path / "new" / "out"
    with process_with("run", out, "plan", "None") as other:
        with pytest.raises(OutputError) as refused, run_lock(out, "plan"):
            pass
        assert str(refused.value).startswith(f"{out}: process {other.pid} on {socket.gethostname()} (since 20")
        assert str(refused.value).endswith("already; wait until it has ended, stop it, or choose another --out")
        other.communicate("\n", timeout=60)
    assert other.returncode == 0
    with run_lock(out, "another plan"):
        pass
    assert files(out) == ["register.lock"]


@pytest.mark.parametrize(
    ("plan", "shard", "message"),
    [
        ("other", (2, 3), "with other settings or images; wait"),
        ("plan", (1, 3), "on shard 1/3 already; wait"),
        ("plan", (2, 4), "on shard 1/3, and this is shard 2/4; divide into the same number of shards"),
        ("plan", None, "is at work there already; wait"),
    ],
)
def test_what_a_shard_refuses(tmp_path, plan, shard, message):
    with (
        run_lock(tmp_path, "plan", (1, 3)),
        pytest.raises(OutputError, match=message),
        run_lock(tmp_path, plan, shard),
    ):
        pass


def test_a_whole_run_refuses_shards(tmp_path):
    with (
        run_lock(tmp_path, "plan"),
        pytest.raises(OutputError, match="is at work there already"),
        run_lock(tmp_path, "plan", (1, 3)),
    ):
        pass


def test_shards_of_one_plan_share_the_folder(tmp_path):
    with process_with("run", tmp_path, "plan", "(1, 3)"), run_lock(tmp_path, "plan", (2, 3)):
        with run_lock(tmp_path, "plan", (3, 3)):
            assert len([name for name in files(tmp_path) if name.endswith(".json")]) == 3
        with run_lock(tmp_path, "plan", (3, 3)):
            pass


def test_a_killed_process_holds_nothing(tmp_path):
    with process_with("run", tmp_path, "plan", "None") as other:
        other.kill()
        other.wait()
        assert len(files(tmp_path)) == 3
        with run_lock(tmp_path, "another plan"):
            assert len(files(tmp_path)) == 3, "the files of the dead process are removed"
    assert files(tmp_path) == ["register.lock"]


def test_the_lock_ends_with_an_error_in_the_block(tmp_path):
    with pytest.raises(KeyError), run_lock(tmp_path, "plan"):
        raise KeyError
    with run_lock(tmp_path, "another"):
        pass


def test_of_many_that_begin_at_once_one_is_let_in(tmp_path):
    barrier, entered, refused = threading.Barrier(8), [], []

    def enter(number):
        barrier.wait()
        try:
            with run_lock(tmp_path, "plan"):
                entered.append(number)
                done.wait(60)
        except OutputError:
            refused.append(number)

    done = threading.Event()
    threads = [threading.Thread(target=enter, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 60
    while len(entered) + len(refused) < 8 and time.monotonic() < end:
        time.sleep(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert (len(entered), len(refused)) == (1, 7)


def test_exclusive_work_is_waited_for_and_told_once(tmp_path):
    said = []

    def tell(text):
        said.append(text)
        threading.Timer(0.3, other.stdin.write, ["\n"]).start()
        threading.Timer(0.4, other.stdin.flush).start()

    with process_with("only", tmp_path, "training") as other:
        with exclusive(tmp_path, "training", tell, poll=0.05):
            assert other.wait(60) == 0
        assert len(said) == 1
        assert said[0].startswith(f"training: waiting for process {other.pid} on ")


def test_exclusive_work_of_a_killed_process_is_taken_over(tmp_path):
    with process_with("only", tmp_path, "training") as other:
        with exclusive(tmp_path, "choosing"):
            pass
        with exclusive(tmp_path, "training", lambda text: other.kill(), poll=0.05):
            assert other.wait(60) != 0


def test_a_suspended_process_does_not_make_others_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_REGISTER_SECONDS", 0.1)
    (tmp_path / ".lock").mkdir()
    with (
        lock.FileLock(tmp_path / ".lock" / "register.lock"),
        pytest.raises(OutputError, match="busy with the locks"),
        run_lock(tmp_path, "plan"),
    ):
        pass


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    for context in (run_lock(tmp_path / "file" / "out", "plan"), exclusive(tmp_path / "file" / "out", "training")):
        with pytest.raises(OutputError, match="could not be written"), context:
            pass
