from contextlib import contextmanager


@contextmanager
def run_lock(folder, plan, shard=None):
    yield


@contextmanager
def exclusive(folder, name, tell=None):
    yield
