"""Worker processes: items, failures, deaths and ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from divseg.errors import ConfigError, DivsegError, FileProblem, OutputError
from divseg.workflow.executors import Done, Lost, Progress, make_executor

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the worker processes take over the path
import jobs  # noqa: E402

posix = pytest.mark.skipif(os.name == "nt", reason="signals")


def values(events):
    return {event.index: event.value for event in events if isinstance(event, Done)}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until_gone(pids, seconds):
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end, "a worker process is still there"
        time.sleep(0.02)


@pytest.mark.parametrize("text", ["serial", "processes"])
def test_every_item_is_done_once_and_tells(text):
    executor = make_executor(text, jobs=1 if text == "serial" else 2)
    events = list(executor.run(jobs.double, range(5)))
    assert values(events) == {i: 2 * i for i in range(5)}
    assert len(events) == 10
    for i in range(5):
        assert events.index(Progress(i, f"doubling {i}")) < events.index(Done(i, 2 * i))


@pytest.mark.parametrize("text", ["serial", "processes"])
def test_a_listener_hears_the_progress_instead(text):
    heard = []
    events = list(make_executor(text).run(jobs.double, [7, 8], heard.append))
    assert events == [Done(0, 14), Done(1, 16)]
    assert heard == [Progress(0, "doubling 7"), Progress(1, "doubling 8")]


def test_serial_listener_hears_during_the_item():
    heard = []

    def work(item, tell):
        tell("half")
        return list(heard)

    assert list(make_executor().run(work, [1], heard.append)) == [Done(0, [Progress(0, "half")])]


def test_no_items():
    assert list(make_executor("processes", jobs=2).run(jobs.double, [])) == []


def test_results_come_as_they_are_finished(tmp_path):
    order = []
    for event in make_executor("processes", jobs=2).run(jobs.until_there, [tmp_path / "others done", None, None]):
        order.append(event.index)
        if len(order) == 2:
            (tmp_path / "others done").touch()
    assert order == [1, 2, 0]


def test_large_items_and_results():
    images = [np.full((1000, 1000), i, np.float32) for i in range(3)]
    done = values(make_executor("processes", jobs=2).run(jobs.double, images))
    assert [int(done[i].max()) for i in range(3)] == [0, 2, 4]


def test_processes_share_the_cores_and_leave_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "999")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = dict(os.environ)
    executor = make_executor("processes", jobs=2)
    done = values(executor.run(jobs.Meet(tmp_path), range(4)))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = str(max(1, cores // 2))
    for pid, environment in done.values():
        assert pid != os.getpid()
        assert environment["OMP_NUM_THREADS"] == "1", "a lower limit of the user's stays"
        assert environment["OPENBLAS_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == share
        assert environment["NUMBA_NUM_THREADS"] == share
    assert len({pid for pid, _ in done.values()}) == 2
    assert dict(os.environ) == before


@pytest.mark.parametrize(("visible", "expected"), [(None, {"0", "1"}), ("4,7", {"4", "7"})])
def test_each_process_sees_one_gpu(monkeypatch, tmp_path, visible, expected):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    executor = make_executor("processes", gpus=2)
    assert executor.workers == 2
    done = values(executor.run(jobs.Meet(tmp_path), range(4)))
    assert {environment["CUDA_VISIBLE_DEVICES"] for _, environment in done.values()} == expected


@posix
def test_an_item_whose_worker_is_killed_is_done_again(tmp_path):
    events = list(make_executor("processes", jobs=2).run(jobs.Killer(tmp_path, times=2), range(4)))
    assert sorted(event.index for event in events) == [0, 1, 2, 3]
    assert values(events) == {i: i for i in range(4)}
    assert len(list(tmp_path.iterdir())) == 6


@posix
def test_an_item_that_always_kills_is_lost_and_the_others_are_done(tmp_path):
    events = list(make_executor("processes", jobs=2).run(jobs.Killer(tmp_path, times=99), range(4)))
    assert values(events) == {0: 0, 2: 2}
    lost = [event for event in events if isinstance(event, Lost)]
    assert {event.index for event in lost} == {1, 3}
    assert lost[0].error == (
        "in each of 3 attempts the worker process was killed (signal 9), perhaps for lack of memory: give fewer --jobs"
    )
    assert len(list(tmp_path.iterdir())) == 6


@posix
def test_other_deaths_do_not_speak_of_memory(tmp_path):
    (lost,) = make_executor("processes").run(jobs.Killer(tmp_path, 99, signal.SIGTERM), [1])
    assert lost.error.endswith("was killed (signal 15)")
    (lost,) = make_executor("processes").run(jobs.fail, ["exit"])
    assert lost.error.endswith("ended with exit code 3")


def test_exceptions_keep_their_type_and_carry_the_traceback():
    with pytest.raises(OutputError) as caught:
        list(make_executor("processes", jobs=2).run(jobs.fail, ["a", "output", "b"]))
    assert str(caught.value) == "disk full"
    assert "in fail" in caught.value.__notes__[0]
    with pytest.raises(FileProblem, match=r"a\.tif: it is empty; leave it out"):
        list(make_executor("processes").run(jobs.fail, ["file"]))


def test_exceptions_that_cannot_travel_are_told_as_text():
    with pytest.raises(RuntimeError, match="Peculiar: 1 and 2"):
        list(make_executor("processes").run(jobs.fail, ["peculiar"]))
    with pytest.raises(Exception, match="pickle"):
        list(make_executor("processes").run(jobs.fail, ["result"]))
    with pytest.raises(ValueError, match="not readable here"):
        list(make_executor("processes").run(jobs.Unreadable(), ["a"]))


def test_closing_the_iterator_ends_the_processes():
    events = make_executor("processes", jobs=2).run(jobs.forever, range(5))
    pids = {int(next(events).text), int(next(events).text)}
    start = time.monotonic()
    events.close()
    assert time.monotonic() - start < 3
    assert not any(alive(pid) for pid in pids)


SCRIPT = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import jobs
from divseg.workflow.executors import make_executor

def main():
    try:
        for event in make_executor("processes", jobs=2).run(jobs.forever, range(4)):
            print(event.text, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)

GUARD
    main()
"""


def start_script(folder, guard='if __name__ == "__main__":'):
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("GUARD", guard))
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, script], env=environment, text=True, start_new_session=os.name != "nt", **pipes
    )


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, getattr(signal, "SIGKILL", 0)])
def test_nothing_is_left_when_the_main_process_is_stopped(tmp_path, number):
    with start_script(tmp_path) as process:
        pids = [int(process.stdout.readline()), int(process.stdout.readline())]
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as Ctrl-C in a terminal, which reaches the workers too
        else:
            process.kill()
        wait_until_gone(pids, 10)
        out, err = process.communicate(timeout=10)
    assert err == ""
    assert out == ("interrupted\n" if number == signal.SIGINT else "")


def test_a_script_without_guard_is_told(tmp_path):
    with start_script(tmp_path, "if True:") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith(f"{DivsegError.__module__}.DivsegError: a worker process could not start")


def test_choice_of_executor():
    assert make_executor().name == "serial"
    assert make_executor("processes", 3).workers == 3
    with pytest.raises(ConfigError, match="unknown executor 'proceses'; did you mean 'processes'"):
        make_executor("proceses")
    with pytest.raises(ConfigError, match="jobs is 0, but must be at least 1"):
        make_executor("processes", 0)
    with pytest.raises(ConfigError, match="for 2 jobs choose executor processes"):
        make_executor("serial", 2)


def test_another_process_goes_on_when_one_can_do_no_more():
    done = values(make_executor("processes", jobs=1).run(jobs.spend, ["a", "last", "b", "c"]))
    assert [item for item, _ in (done[i] for i in range(4))] == ["a", "last", "b", "c"]
    pids = [pid for _, pid in (done[i] for i in range(4))]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_where_there_is_no_other_process_the_work_ends():
    events = make_executor("serial").run(jobs.spend, ["a", "last", "b"])
    assert [next(events).value[0] for _ in range(2)] == ["a", "last"]
    with pytest.raises(DivsegError, match="the device failed; give the same command again to go on"):
        next(events)
