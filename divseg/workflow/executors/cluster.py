"""Workers of a dask cluster: processes that dask starts here, or those of a scheduler that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import pickle
import time
import uuid
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from divseg.errors import ConfigError, DivsegError, DivsegWarning, ExtraRequired
from divseg.io.json_file import read_json_object
from divseg.workflow.executors.contract import Done, Event, Listener, Lost, Spent, Work
from divseg.workflow.executors.environment import environment, thread_limits

try:
    import dask
    from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin, as_completed
    from distributed.core import rpc
except ImportError as missing:
    raise ExtraRequired(f'executor dask needs dask ({missing}): pip install "divseg[cluster]"') from missing

CONNECT_SECONDS = 8
"""How long a scheduler has to answer."""
IN_FLIGHT = 3
"""How many items the cluster holds for each thread of its workers: one at work, two that wait for it."""
_LOCAL = {
    # One item at a time goes to a worker, the others wait with the scheduler: none of them is blamed for its death
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 0,
    # Otherwise a worker that is just being started again at that time is given up
    "distributed.deploy.lost-worker-timeout": "1000 days",
}
"""Settings of dask while it has workers of this process."""


class DaskExecutor:
    """Hands the items to a dask cluster; see :class:`divseg.workflow.executors.Executor`.

    What the work tells is not passed on. An item during which workers died is done again when all others are
    finished, alone, so that no item is lost for the faults of another. When the iterator is closed, items that have
    not begun are taken back; on a cluster of the user's, those at work come to their end.

    Parameters
    ----------
    name : str
        Canonical string of the executor.
    address : str, optional
        Of a running scheduler.
    scheduler_file : str, optional
        File in which a running scheduler has written its address.
    workers : int
        Number of processes of one thread that are started on this machine, where there is neither.

    Raises
    ------
    ConfigError
        If no scheduler answers, or the file is not a scheduler's.
    """

    def __init__(
        self, name: str, address: str | None = None, scheduler_file: str | None = None, workers: int = 1
    ) -> None:
        self.name, self.workers = name, workers
        self._address = _read_address(scheduler_file) if scheduler_file else address
        if self._address is not None:
            with _connect(self._address) as client:
                if not client.nthreads():
                    warnings.warn(
                        f"the dask scheduler at {self._address} has no workers yet; work waits for them",
                        DivsegWarning,
                        stacklevel=3,
                    )
                self.workers = _threads(client)

    def run(self, work: Work, items: Sequence[Any], listen: Listener | None = None) -> Iterator[Event]:
        """Do the work on all items.

        Raises
        ------
        DivsegError
            If the workers cannot import divseg, or the scheduler is lost.
        """
        payload = pickle.dumps(work, protocol=5)
        plugin = _Delivery(f"divseg-{hashlib.sha256(payload).hexdigest()[:16]}-{uuid.uuid4().hex[:8]}", payload)
        with self._client() as client:
            try:
                client.register_plugin(plugin)
            except Exception as error:  # dask wraps the workers' in others
                raise DivsegError(
                    f"the dask workers cannot load divseg ({error}); install the same version there"
                ) from error
            killed: deque[int] = deque()
            try:
                for index, value in _finish(client, plugin.name, items, range(len(items))):
                    if isinstance(value, KilledWorker):
                        killed.append(index)
                    elif isinstance(value, Spent):
                        yield Done(index, value.value)
                        raise DivsegError(f"{value.reason}; start the dask workers anew and run again to go on")
                    else:
                        yield Done(index, value)
                for index in killed:
                    for _ in range(1 if self._address else 2):
                        ((_, value),) = _finish(client, plugin.name, items, [index])
                        if not isinstance(value, KilledWorker):
                            yield Done(index, value)
                            break
                    else:
                        yield Lost(
                            index,
                            "its dask worker died each time it was tried, perhaps for lack of memory: give the "
                            "workers more memory, or fewer of them to a machine",
                        )
            except CancelledError as error:
                raise DivsegError(
                    f"{self._address or self.name}: the dask scheduler has ended; start it and run again to go on"
                ) from error
            finally:
                with contextlib.suppress(Exception):  # the scheduler may be gone
                    client.unregister_worker_plugin(plugin.name)

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        if self._address is not None:
            client = _connect(self._address)
            try:
                yield client
            finally:
                with contextlib.suppress(Exception):  # closing may fail in dask if the scheduler has gone
                    client.close()
            return
        with dask.config.set(_LOCAL):
            with environment(thread_limits(self.workers)):
                cluster = LocalCluster(
                    n_workers=self.workers,
                    threads_per_worker=1,
                    # dask would kill a worker that takes more than its share by the number of cores
                    memory_limit=None,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                )
            with cluster, Client(cluster) as client:
                yield client
                with contextlib.suppress(TimeoutError):  # to end one that is just being started again makes a noise
                    client.wait_for_workers(self.workers, timeout=10)


def _finish(client: Client, work: str, items: Sequence[Any], indices: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Yield index and result of items as they are finished; the result is a KilledWorker where the workers died.

    Only some items at a time are with the scheduler. The number follows that of the workers, which may come and go.
    """
    waiting = iter(indices)
    index_of: dict[Future[Any], int] = {}
    limit, next_look = 0, 0.0
    finished = as_completed()
    while True:
        if time.monotonic() > next_look:
            limit, next_look = IN_FLIGHT * _threads(client), time.monotonic() + 5
        while len(index_of) < limit and (index := next(waiting, None)) is not None:
            # as bytes: dask would look for futures and tasks in the item
            item = pickle.dumps(items[index], protocol=5)
            future = client.submit(_do, work, item, key=f"{work}-{index}-{uuid.uuid4().hex[:8]}", pure=False)
            index_of[future] = index
            finished.add(future)
        if not index_of:
            return
        future = next(finished)
        try:
            value = future.result()
        except (KilledWorker, Spent) as error:
            value = error
        yield index_of.pop(future), value


class _Delivery(WorkerPlugin):
    """Brings the pickled work to every worker, also to those that come later or are started again."""

    def __init__(self, name: str, payload: bytes) -> None:
        self.name, self.payload = name, payload

    def setup(self, worker: Any) -> None:
        _payloads[self.name] = self.payload

    def teardown(self, worker: Any) -> None:
        _payloads.pop(self.name, None)
        _load.cache_clear()


_payloads: dict[str, bytes] = {}
"""In a worker: pickled work by its name."""


@functools.lru_cache(4)
def _load(name: str) -> Work:
    return pickle.loads(_payloads[name])


def _do(name: str, item: bytes) -> Any:
    """Do one item; this is what a worker runs."""
    return _load(name)(pickle.loads(item), _ignore)


def _ignore(text: str) -> None:
    pass


def _threads(client: Client) -> int:
    """Return how many items the workers can do at once, 1 while there are none yet."""
    return max(1, sum(client.nthreads().values()))


def _connect(address: str) -> Client:
    """Return a client of a running scheduler.

    Raises
    ------
    ConfigError
        If none answers.
    """
    # A client would wait for ever for something that accepts the connection and says nothing. The question is asked
    # in a thread because notebooks have an event loop of their own in this one.
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _greet(address)).result()
        return Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no dask scheduler answers at {address}; start one with: dask scheduler, or check the address"
        ) from error


async def _greet(address: str) -> None:
    async def ask() -> None:
        async with rpc(address, timeout=CONNECT_SECONDS) as scheduler:
            await scheduler.identity()

    await asyncio.wait_for(ask(), CONNECT_SECONDS)


def _read_address(path: str) -> str:
    """Return the address in a scheduler's file.

    Raises
    ------
    ConfigError
        If it cannot be read, or has none.
    """
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return str(read_json_object(Path(path).expanduser())["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            unfinished = isinstance(error, ValueError)  # by a scheduler that is just starting
            if not unfinished or time.monotonic() > deadline:
                raise ConfigError(
                    f"{path}: it is not the file of a dask scheduler ({error}); write it with: "
                    "dask scheduler --scheduler-file"
                ) from error
        time.sleep(0.1)
