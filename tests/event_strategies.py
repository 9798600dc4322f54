"""Hypothesis strategies for events: any numbers of hits, any ids, any finite energies.

from hypothesis import given
from tests.event_strategies import collision_events

@given(collision_events())
def test_...(events): ...
"""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import CELLS, COLLECTIONS, PHOTONS, SCALARS, Events, cell_exists
from e2e_jax.studies.hgg import LABELS

PLACES = {name: np.flatnonzero(cell_exists(name, np.arange(count))) for name, count in CELLS.items()}
"""The cells of each collection that exist."""


def finite(low=None, high=None):
    """Finite float32 numbers, subnormal numbers and both zeros included."""
    low, high = (None if bound is None else float(np.float32(bound)) for bound in (low, high))
    return st.floats(low, high, allow_nan=False, allow_infinity=False, width=32)


def positive(most=None):
    """Positive float32 numbers."""
    return finite(np.finfo(np.float32).smallest_subnormal, most)


@st.composite
def ragged(draw, name, count, most_hits, values):
    """One collection of `count` events, up to `most_hits` entries in each."""
    counts = draw(arrays.arrays(np.int64, count, elements=st.integers(0, most_hits)))
    total, columns = int(counts.sum()), {}
    for column, dtype in Events.ragged()[name].items():
        if column == "cell":
            # Cells may repeat within an event.
            index = draw(arrays.arrays(np.int64, total, elements=st.integers(0, len(PLACES[name]) - 1)))
            columns[column] = PLACES[name][index].astype(dtype)
        else:
            columns[column] = draw(arrays.arrays(dtype, total, elements=values))
    return Ragged.from_counts(counts, columns)


@st.composite
def collision_events(
    draw, min_size=1, max_size=4, most_hits=6, values=None, masses=None, labels=None
) -> Events:
    """Events that `Events.validate` accepts.

    Args:
      min_size, max_size: number of events.
      most_hits: most entries of a collection in an event; 0 to that many.
      values: strategy for energies, pt, eta, phi and the photons; any finite float32 by default.
      masses: strategy for masses; any positive float32 by default.
      labels: strategy for labels; any class or -1 by default.
    """
    values = finite() if values is None else values
    masses = positive() if masses is None else masses
    labels = st.integers(-1, len(LABELS) - 1) if labels is None else labels
    count = draw(st.integers(min_size, max_size))
    info = np.iinfo(np.int64)
    elements = dict.fromkeys(SCALARS, st.integers(info.min, info.max)) | {"label": labels}
    fields = {
        name: draw(arrays.arrays(dtype, count, elements=elements[name])) for name, dtype in SCALARS.items()
    }
    for name in COLLECTIONS:
        fields[name] = draw(ragged(name, count, most_hits, values))
    two = {name: draw(arrays.arrays(dtype, 2 * count, elements=values)) for name, dtype in PHOTONS.items()}
    fields["photons"] = Ragged.from_counts(np.full(count, 2), two)
    mass = draw(arrays.arrays(np.float32, count, elements=masses))
    return Events(**fields, observables={"mass": mass})
