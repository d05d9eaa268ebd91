"""Dask: workers that are started here, and schedulers that run already."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="dask is not installed")

from distributed import Client, LocalCluster

from divseg.errors import ConfigError, DivsegError, DivsegWarning, ExtraRequired, OutputError
from divseg.workflow.executors import Done, Lost, cluster, make_executor
from divseg.workflow.executors.environment import THREADS, thread_limits

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the workers take over the path
import jobs  # noqa: E402


class Counted:
    """Items that count how many of them were taken."""

    def __init__(self, count):
        self.count, self.taken = count, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.taken += 1
        return index


def test_workers_on_this_machine(tmp_path):
    """All items are done, few at a time are under way, and the cores are shared out."""
    before = dict(os.environ)
    items = Counted(40)
    executor = make_executor("dask", jobs=2)
    assert executor.workers == 2
    events = []
    for event in executor.run(jobs.Meet(tmp_path), items):
        events.append(event)
        assert items.taken <= len(events) + cluster.IN_FLIGHT * 2
    assert sorted(event.index for event in events) == list(range(40))
    assert len({event.value[0] for event in events} | {os.getpid()}) == 3
    for event in events:
        assert {name: event.value[1][name] for name in THREADS} == thread_limits(2)
    assert dict(os.environ) == before


@pytest.mark.slow
def test_an_item_that_kills_its_workers_is_lost_and_the_others_are_done(tmp_path):
    (tmp_path / "3_0").touch()
    (tmp_path / "3_1").touch()  # 3 is to kill only once, 1 always
    events = list(make_executor("dask,workers=2").run(jobs.Killer(tmp_path, times=3), [0, 1, 2, 3, 4]))
    lost = [event for event in events if isinstance(event, Lost)]
    assert [event.index for event in lost] == [1]
    assert lost[0].error.startswith("its dask worker died each time it was tried, perhaps for lack of memory")
    assert {event.index for event in events if isinstance(event, Done)} == {0, 2, 3, 4}


@pytest.fixture(scope="module")
def address():
    """Return the address of a cluster of two workers that was there before."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as running:
        yield running.scheduler_address


def test_a_running_cluster_is_used_and_outlives_the_work(address, tmp_path):
    executor = make_executor(f"dask,address={address}")
    assert executor.name == f"dask,address={address}"
    assert executor.workers == 2
    for _ in range(2):
        assert {event.index for event in executor.run(jobs.double, range(3))} == {0, 1, 2}
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": address}))
    events = make_executor(f"dask,scheduler_file={file}").run(jobs.double, [4])
    assert list(events) == [Done(0, 8)]


def test_items_that_dask_would_take_for_its_own_arrive_as_they_are(address):
    items = [(len, "abc"), {"a": [1]}, "divseg-1"]
    events = list(make_executor(f"dask,address={address}").run(jobs.show, items))
    assert sorted((event.index, event.value) for event in events) == list(enumerate(map(repr, items)))


def test_exceptions_keep_their_type(address):
    executor = make_executor(f"dask,address={address}")
    with pytest.raises(OutputError, match="disk full"):
        list(executor.run(jobs.fail, ["a", "output", "b"]))
    with pytest.raises(ValueError, match="not readable here"):
        list(executor.run(jobs.Unreadable(), ["a"]))


def test_closing_the_iterator_takes_back_what_has_not_begun(address, tmp_path):
    executor = make_executor(f"dask,address={address}")
    begun, go = tmp_path / "begun", tmp_path / "go"
    begun.mkdir()
    events = executor.run(jobs.Blocked(begun, go), [None, *range(6)])
    assert next(events).index == 0
    jobs.wait_for(lambda: len(list(begun.iterdir())) == 2)
    events.close()
    go.touch()
    # items are done in their order: when these are, those before them are too, or will never be
    assert len(list(executor.run(jobs.double, range(6)))) == 6
    assert len(list(begun.iterdir())) == 2


@pytest.mark.parametrize("silent", [False, True])
def test_no_scheduler_answers(monkeypatch, silent):
    assert cluster.CONNECT_SECONDS < 10
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if silent:
            server.listen()
        target = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"no dask scheduler answers at {target}"):
            make_executor(f"dask,address={target}")


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler without workers: its process and its file."""
    file = tmp_path / "scheduler.json"
    with dask_process("scheduler", "--scheduler-file", file, "--host", "127.0.0.1", "--port", "0") as process:
        jobs.wait_for(file.exists)
        yield process, file


@contextmanager
def dask_process(kind, *options, before="pass"):
    code = f"import sys; {before}; from distributed.cli.dask_{kind} import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, options)], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_scheduler_ends_while_work_waits_for_workers(monkeypatch, scheduler):
    process, file = scheduler
    with pytest.warns(DivsegWarning, match="has no workers yet"):
        executor = make_executor(f"dask,scheduler_file={file}")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    end = threading.Timer(1, process.kill)
    end.start()
    with pytest.raises(DivsegError, match="the dask scheduler has ended; start it and run again"):
        next(executor.run(jobs.double, range(3)))
    end.join()


def test_workers_without_divseg(scheduler):
    _, file = scheduler
    options = ("--scheduler-file", file, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    with dask_process("worker", *options, before="sys.modules['divseg'] = None"):
        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(1, timeout=60)
        with pytest.raises(DivsegError, match="the dask workers cannot load divseg"):
            next(make_executor(f"dask,scheduler_file={file}").run(jobs.double, range(3)))


def test_texts_that_do_not_fit():
    with pytest.raises(ConfigError, match="either address or scheduler_file"):
        make_executor("dask,address=tcp://a:1,scheduler_file=b")
    with pytest.raises(ConfigError, match="leave out workers"):
        make_executor("dask,address=tcp://a:1,workers=2")
    with pytest.raises(ConfigError, match="has no option 'worker'; did you mean 'workers'"):
        make_executor("dask,worker=2")


def test_a_scheduler_file_that_is_absent_wrong_or_half_written(address, tmp_path, monkeypatch):
    file = tmp_path / "scheduler.json"
    text = f"dask,scheduler_file={file}"
    for content in (None, "{}", "[]"):
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigError, match="not the file of a dask scheduler"):
            make_executor(text)
    file.write_text("")
    threading.Timer(0.5, file.write_text, [json.dumps({"address": address})]).start()
    assert make_executor(text).workers == 2
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2)
    file.write_text("no JSON")
    with pytest.raises(ConfigError, match="not the file of a dask scheduler"):
        make_executor(text)


def test_dask_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "divseg.workflow.executors.cluster")
    with pytest.raises(ExtraRequired, match=r'pip install "divseg\[cluster\]"'):
        make_executor("dask")
