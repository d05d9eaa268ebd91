import signal
import threading

import pytest

from divseg.denoise.training.interrupt import DeferredInterrupt


def press():
    signal.raise_signal(signal.SIGINT)


def test_the_first_waits_for_the_check_and_the_second_does_not():
    with DeferredInterrupt() as interrupt:
        press()
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        interrupt.check()  # it came once
        press()
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def leave_with_a_press():
    with DeferredInterrupt():
        press()


def test_one_that_is_pending_at_the_end_is_not_lost():
    with pytest.raises(KeyboardInterrupt):
        leave_with_a_press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_caller_is_asked():
    calls = []
    previous = signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    try:
        with DeferredInterrupt() as interrupt:
            press()
            assert calls == []
            interrupt.check()
        assert calls == [1]
    finally:
        signal.signal(signal.SIGINT, previous)


def test_sigterm_waits_too_if_it_has_a_handler():
    def end(*_):
        raise SystemExit(3)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        with DeferredInterrupt() as interrupt:
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(SystemExit):
                interrupt.check()
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_ignored_interrupts_stay_ignored():
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        leave_with_a_press()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)


def test_other_threads_change_nothing():
    seen = []

    def work():
        with DeferredInterrupt() as interrupt:
            seen.append(signal.getsignal(signal.SIGINT))
            interrupt.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
