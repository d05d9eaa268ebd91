import gc
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import divseg
from divseg.errors import DivsegError
from divseg.segment.stardist.objects import Job, find_objects
from divseg.segment.stardist.pool import Pool


def wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.05)


def job(shape=(30, 30), **changes):
    values = {"prob": np.float32([0.9]), "dist": np.full((1, 8), 4, np.float32), "points": np.array([[15, 15]])}
    return Job(**{**values, **changes}, shape=shape, nms=0.4)


@pytest.fixture(scope="module")
def pool():
    pool = Pool(1)
    wait(lambda: pool.ready)
    yield pool
    pool.close()


def test_a_worker_finds_what_we_find(pool):
    answers = [pool.submit(job((30 + k, 30))) for k in range(5)]
    for k, answer in enumerate(answers):
        ours, theirs = answer.result(60), find_objects(job((30 + k, 30)))
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(ours.prob, theirs.prob)


def test_a_job_that_fails_does_not_end_the_worker(pool):
    with pytest.raises(DivsegError, match="failed in a worker process"):
        pool.submit(job(points=np.zeros((1, 5)))).result(60)
    assert pool.submit(job()).result(60).max() == 1


def test_streams_with_and_without_processes(models):
    image = models.expected("unet2d")["image"]
    rng = np.random.default_rng(0)
    stack = [np.clip(image + rng.normal(0, 0.1, image.shape), 0, 2).astype(np.float32) for _ in range(30)]
    alone = list(divseg.segmenter(models.spec("unet2d", "processes=0"))(iter(stack)))
    with divseg.segmenter(models.spec("unet2d", "processes=1")) as shared:
        first = list(shared(stack[:3]))
        wait(lambda: shared._pool.ready)
        children = shared._pool._children
        together = list(shared(iter(stack)))
        some = shared(np.stack(stack))
        next(some)
        some.close()  # left half-way
        again = list(shared(stack[:2]))
        assert all(child.poll() is None for child in children)
    assert len({labels.tobytes() for labels in alone}) > 20
    for ours, theirs in [*zip(alone, together, strict=True), *zip(alone, first), *zip(alone, again)]:  # noqa: B905
        np.testing.assert_array_equal(ours, theirs)
    assert all(child.poll() is not None for child in children)


def test_a_killed_worker_is_an_error(models):
    image = models.expected("unet2d")["image"]
    segment = divseg.segmenter(models.spec("unet2d", "processes=1"))
    list(segment([image]))
    pool = segment._pool
    wait(lambda: pool.ready)
    child = pool._children[0]
    child.kill()
    for _ in range(2):
        with pytest.raises(DivsegError, match=r"a worker process of StarDist ended with code -?\d+.*processes=1, or 0"):
            list(segment([image] * 4))
    segment.close()
    assert len(list(segment([image] * 4))) == 4  # with a new one


def test_workers_end_with_their_segmenter(models):
    segment = divseg.segmenter(models.spec("unet2d", "processes=1"))
    list(segment([models.expected("unet2d")["image"]]))
    child = segment._pool._children[0]
    assert child.poll() is None
    del segment
    gc.collect()
    assert child.poll() is not None


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_workers_do_not_outlive_a_killed_parent():
    code = (
        "import time\n"
        "from divseg.segment.stardist.pool import Pool\n"
        "pool = Pool(1)\n"
        "while not pool.ready: time.sleep(0.05)\n"
        "print(pool._children[0].pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()

    def gone():
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return True
        status = f"/proc/{worker}/stat"
        if not os.path.exists(status):
            return False
        with open(status) as file:  # an ended process that nobody has waited for yet
            return file.read().rpartition(")")[2].split()[0] == "Z"

    wait(gone)
