"""Locks on a run folder, held by real processes."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from divseg.errors import OutputError
from divseg.workflow.lock import exclusive, run_lock

HOLD = """
import sys, time
from divseg.workflow.lock import run_lock
shard = tuple(map(int, sys.argv[3].split("/"))) if sys.argv[3] else None
with run_lock(sys.argv[1], sys.argv[2], shard):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def hold(tmp_path):
    """Return a function that lets another process hold the folder."""
    started = []

    def begin(plan="plan", shard=""):
        command = [sys.executable, "-c", HOLD, str(tmp_path), plan, shard]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def refused(folder, plan, shard=None):
    try:
        with run_lock(folder, plan, shard):
            return False
    except OutputError:
        return True


def test_another_plan_is_refused_and_told_by_whom(tmp_path, hold):
    process = hold()
    with pytest.raises(OutputError, match=rf"process {process.pid} on .* since 20\d\d-.*choose another --out"):
        run_lock(tmp_path, "other").__enter__()
    assert refused(tmp_path, "plan")  # twice the same work


def test_shards_of_one_plan_share_a_folder(tmp_path, hold):
    hold(shard="1/3")
    assert not refused(tmp_path, "plan", (2, 3))
    assert refused(tmp_path, "plan", (1, 3))
    assert refused(tmp_path, "plan", (2, 4))
    assert refused(tmp_path, "other", (2, 3))
    assert refused(tmp_path, "plan")


def test_a_dead_process_holds_nothing(tmp_path, hold):
    process = hold()
    assert refused(tmp_path, "other")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not refused(tmp_path, "other")
    assert sorted(path.name for path in (tmp_path / ".lock").iterdir()) == ["register.lock"]


def test_a_folder_is_free_after_the_work_and_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path, "plan"):
        raise ZeroDivisionError
    assert not refused(tmp_path, "other")


def test_what_is_exclusive_is_waited_for(tmp_path):
    told, order = [], []

    def second():
        with exclusive(tmp_path, "model", told.append):
            order.append("second")

    with exclusive(tmp_path, "model"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.6)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert told == ["waiting for another process that is at work on stage model"]
