import threading

import pytest

from divseg.segment.ahead import map_ahead


def test_in_order_and_not_too_far_ahead():
    taken = []

    def items():
        for i in range(9):
            taken.append(i)
            yield i

    begun = set()
    results = map_ahead(
        lambda i: (i, threading.get_ident() in begun), items(), 2, lambda: begun.add(threading.get_ident())
    )
    assert taken == []
    assert next(results) == (0, True)
    assert taken == [0, 1, 2]
    assert list(results) == [(i, True) for i in range(1, 9)]
    assert threading.get_ident() not in begun


def test_an_error_comes_where_its_item_does():
    results = map_ahead(lambda i: 1 / i, [1, 2, 0, 4], 2)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_the_items_comes_after_the_results_before_it():
    def items():
        yield 0
        yield 1
        raise ValueError("third")

    results = map_ahead(lambda i: i, items(), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="third"):
        next(results)
