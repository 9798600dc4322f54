import numpy as np
import pytest

from e2e_jax.sources.root import auxiliary
from e2e_jax.sources.root.baskets import Column
from tests.aodsim_file import auxiliary_bytes


def decode(*entries):
    values = np.frombuffer(b"".join(entries), np.uint8)
    return auxiliary.addresses(Column(np.array([len(entry) for entry in entries], np.int64), values))


def test_numbers_are_read_whatever_lies_before_them():
    numbers = [(194533, 7, 2**32 - 1), (1, 1, 1), (206859, 1234, 17748810)]
    entries = [
        auxiliary_bytes(*numbers[0], version=10, history=b"\0" * 16),
        auxiliary_bytes(*numbers[1], version=0, history=b""),
        auxiliary_bytes(*numbers[2], version=-3, history=b"\xff" * 40),
    ]
    addresses, sound = decode(*entries)
    assert addresses.tolist() == [list(number) for number in numbers]
    assert sound.all()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x40",
        auxiliary_bytes(1, 1, 1)[:30],
        auxiliary_bytes(0, 1, 1),
        auxiliary_bytes(1, 0, 1),
        auxiliary_bytes(1, 1, 0),
        auxiliary_bytes(1, 1, 1)[4:],
        b"\x7f\xff\xff\xff" + auxiliary_bytes(1, 1, 1)[4:],
        b"\x00" + auxiliary_bytes(1, 1, 1)[1:],
        b"\xff" * 125,
        b"\x00" * 125,
    ],
    ids=lambda bad: bad[:8].hex() + f"_{len(bad)}",
)
def test_bytes_that_are_no_auxiliary_are_told_and_disturb_no_other(bad):
    good = auxiliary_bytes(5, 6, 7)
    addresses, sound = decode(good, bad, good)
    assert sound.tolist() == [True, False, True]
    assert addresses[[0, 2]].tolist() == [[5, 6, 7]] * 2


def test_no_entries_have_no_addresses():
    addresses, sound = decode()
    assert addresses.shape == (0, 3)
    assert sound.shape == (0,)
