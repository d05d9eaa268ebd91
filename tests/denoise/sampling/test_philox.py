import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from divseg.denoise.sampling.philox import Window, check_samples, philox, philox_key
from divseg.errors import InputError

PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
"""Counter, key and words of philox4x32-10 in the known answers that come with the authors' Random123."""


def reference(counter, key):
    """Philox4x32-10 as the paper has it, in Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k[0], second % 2**32, first >> 32 ^ c[3] ^ k[1], first % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return tuple(c)


def words_of(counter, key):
    return tuple(int(word) for word in philox(tuple(torch.tensor([c]) for c in counter), key))


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_known_answers(counter, key, words):
    assert words_of(counter, key) == words
    assert reference(counter, key) == words


WORD = st.integers(0, 2**32 - 1)


@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_the_words_are_those_of_the_paper(counter, key):
    assert words_of(counter, key) == reference(counter, key)


def test_counters_broadcast_and_stay_as_they_are():
    x, y = torch.arange(5), torch.arange(7)[:, None]
    z, sample = torch.tensor([3]), torch.arange(2)[:, None, None]
    words = torch.stack(torch.broadcast_tensors(*philox((x, y, z, sample), (8, 9))))
    assert words.shape == (4, 2, 7, 5)
    assert torch.equal(x, torch.arange(5))
    assert tuple(words[:, 1, 6, 4].tolist()) == reference((4, 6, 3, 1), (8, 9))


def test_the_key_is_a_hash_of_seed_and_image():
    digest = hashlib.blake2b(np.array([5, 2**64 - 1], "<u8").tobytes(), digest_size=8).digest()
    assert philox_key(5, 2**64 - 1) == tuple(np.frombuffer(digest, "<u4"))
    keys = {philox_key(seed, image) for seed in (0, 1, 2**32, 2**64 - 1) for image in (0, 1, 2**32, 2**64 - 1)}
    assert len(keys) == 16


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_beyond_64_bits(seed):
    with pytest.raises(InputError, match=rf"seed={seed} must be from 0"):
        philox_key(seed, 0)


@pytest.mark.parametrize(
    ("level", "channels", "start", "stop"),
    [
        (8, 4, (0, 0), (1, 1)),
        (-1, 4, (0, 0), (1, 1)),
        (0, 0, (0, 0), (1, 1)),
        (0, 2049, (0, 0), (1, 1)),
        (0, 4, (-1, 0), (1, 1)),
        (0, 4, (2, 0), (1, 1)),
        (0, 4, (0, 2**32), (1, 2**32 + 1)),
        (0, 4, (2**20, 0, 0), (2**20 + 1, 1, 1)),
    ],
)
def test_addresses_beyond_the_counter(level, channels, start, stop):
    with pytest.raises(InputError, match="has room for"):
        Window(level, channels, start, stop)


@pytest.mark.parametrize("samples", [(-1, 0), (0, 2**32)])
def test_samples_beyond_the_counter(samples):
    with pytest.raises(InputError, match="numbers of samples must be"):
        check_samples(samples)


def test_a_window_in_two_and_three_dimensions():
    flat, deep = Window(1, 9, (2, 3), (5, 10)), Window(1, 9, (1, 2, 3), (3, 5, 10))
    assert flat.box == ((0, 1), (2, 5), (3, 10))
    assert deep.box == ((1, 3), (2, 5), (3, 10))
    assert (flat.sides, flat.groups, flat.counters) == ((3, 7), 3, 63)
    assert deep.counters == 126
