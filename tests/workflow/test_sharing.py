"""How work is shared out if nobody says."""

import pytest

from divseg.errors import ConfigError
from divseg.workflow.sharing import Options, default_jobs


@pytest.mark.parametrize(
    ("units", "gpus", "cores", "jobs"),
    [(100, 0, 64, 1), (100, 1, 16, 4), (100, 2, 16, 8), (100, 2, 4, 2), (3, 1, 16, 1), (5, 1, 16, 2), (0, 1, 16, 1)],
)
def test_default_jobs(units, gpus, cores, jobs):
    assert default_jobs(units, gpus, cores) == jobs


@pytest.mark.parametrize(
    ("options", "device", "expected"),
    [
        (Options(), "cpu", ("serial", 1, 0)),
        (Options(), "auto", ("processes", 4, 2)),
        (Options(), "cuda", ("processes", 4, 2)),
        (Options(), "cuda:1", ("processes", 4, 0)),
        (Options(jobs=1), "auto", ("serial", 1, 0)),
        (Options(jobs=3), "cpu", ("processes", 3, 0)),
        (Options(shard=(1, 20)), "auto", ("processes", 2, 2)),
        (Options(executor="serial"), "auto", ("serial", 1, 0)),
        (Options(executor="processes"), "cpu", ("processes", 1, 0)),
    ],
)
def test_the_executor_on_a_machine_with_two_gpus_and_eight_cores(monkeypatch, options, device, expected):
    monkeypatch.setattr("divseg.workflow.sharing.count_gpus", lambda: 2)
    monkeypatch.setattr("divseg.workflow.sharing.cores", lambda: 8)
    executor = options.make_executor(100, device)
    assert (executor.name, executor.workers, getattr(executor, "gpus", 0)) == expected


def test_serial_does_not_do_several():
    with pytest.raises(ConfigError, match="one image at a time"):
        Options(executor="serial", jobs=2).make_executor(10, "cpu")
