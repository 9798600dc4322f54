"""The layout of hits in the arrays of a batch. All batches have the same shapes.

Padded: one row of hits per event, as long as the longest event. Flat: the hits of a group of events are
concatenated and padded at the end of the group; with one group per device, each device has the hits of its
events. The longest event has three times as many hits as the mean event, but the largest group is hardly
larger than the mean group, so a flat batch needs a third of the memory. Images can be made from both layouts;
everything else needs padded batches.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.detector.drawing import COUNT, events_of_hits
from e2e_jax.events.base import Record

PADDING_STEP = 64
"""Lengths are multiples of this, so that similar datasets share a compiled program."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The shapes of a batch.

    Attributes:
      lengths: collection -> maximum number of hits per event, or per group in a flat batch.
      group: events per group in a flat batch; None for a padded batch.
    """

    lengths: Mapping[str, int]
    group: int | None = None

    @classmethod
    def padded(cls, events: Record) -> Layout:
        """The padded layout that fits the longest event."""
        longest = {name: int(getattr(events, name).counts.max(initial=1)) for name in events.COLLECTIONS}
        return cls({name: _rounded(length) for name, length in longest.items()})

    @classmethod
    def flat(cls, events: Record, orders: Iterable[np.ndarray], group: int) -> Layout:
        """The flat layout that fits every group of the given epochs.

        Args:
          events: the sample.
          orders: indices of the events of each batch, one array `[steps, batch]` per epoch.
          group: events per group; it divides the batch size.
        """
        counts = {name: getattr(events, name).counts for name in events.COLLECTIONS}
        most = dict.fromkeys(counts, 1)
        for rows in orders:
            groups = rows.reshape(-1, group)
            most = {name: max(most[name], int(counts[name][groups].sum(axis=1).max())) for name in counts}
        return cls({name: _rounded(length) for name, length in most.items()}, group)

    def batch(self, events: Record) -> dict:
        """The batch of the given events, as numpy arrays.

        Returns:
          The padded batch of `Record.to_batch`, or the flat batch: the columns of `Record.batched`, and for
          each collection `{"count": int32 [n], "cell": [groups, length], ...}`.

        Raises:
          ValueError: an event, or a group, has more hits than `lengths` allows.
        """
        if self.group is None:
            return events.to_batch(self.lengths)
        batch = events.batched()
        for name in events.COLLECTIONS:
            ragged, length = getattr(events, name), self.lengths[name]
            totals = ragged.counts.reshape(-1, self.group).sum(axis=1)
            self._check(name, int(totals.max()))
            filled = np.arange(length) < totals[:, None]
            batch[name] = {COUNT: ragged.counts.astype(np.int32)}
            for column, values in ragged.columns.items():
                batch[name][column] = np.zeros((*filled.shape, *values.shape[1:]), values.dtype)
                batch[name][column][filled] = values
        return batch

    def take(self, packed: Mapping, rows: jax.Array) -> dict:
        """The same batch from a sample on the device. For use inside a jitted step.

        Args:
          packed: the sample, from `placement.pack`.
          rows: int32 `[batch]`, indices of the events.
        """
        batch = {}
        for name, column in packed.items():
            if not isinstance(column, Mapping):
                batch[name] = column[rows]
                continue
            count, first = column["count"][rows], column["first"][rows]
            place = jnp.arange(self.lengths[name], dtype=jnp.int32)
            if self.group is None:
                filled = place[None, :] < count[:, None]
                entry = first[:, None] + place[None, :]
                batch[name] = {}
            else:
                entries_of_groups = jax.vmap(functools.partial(_flat_entries, place))
                filled, entry = entries_of_groups(
                    count.reshape(-1, self.group), first.reshape(-1, self.group)
                )
                batch[name] = {COUNT: count}
            entry = jnp.where(filled, entry, 0)
            columns = {c: values for c, values in column.items() if c not in ("first", "count")}
            batch[name] |= {c: _filled(filled, values[entry]) for c, values in columns.items()}
        return batch

    def check(self, events: Record, rows: np.ndarray) -> None:
        """Raise a ValueError if a batch of an epoch, [steps, batch], does not fit into a flat layout."""
        needed = Layout.flat(events, [rows], self.group).lengths if self.group else {}
        for name, length in needed.items():
            self._check(name, length)

    def _check(self, name, needed):
        if needed > self.lengths[name]:
            raise ValueError(
                f"A group of {self.group} events has {needed} entries in {name!r}, over the "
                f"{self.lengths[name]} of the batch's layout: make the layout of all epochs that are trained "
                "(config.train.epochs)."
            )


def _flat_entries(place, count, first):
    """For each position in a group: whether it holds a hit, and the index of that hit in the sample."""
    ends = jnp.cumsum(count)
    event = events_of_hits(count, len(place))
    own = jnp.minimum(event, len(count) - 1)
    return event < len(count), (first - ends + count)[own] + place


def _filled(filled: jax.Array, values: jax.Array) -> jax.Array:
    """Values `[rows, length, ...]`, 0 where there is no hit."""
    filled = filled.reshape(filled.shape + (1,) * (values.ndim - filled.ndim))
    return jnp.where(filled, values, 0).astype(values.dtype)


def _rounded(length: int) -> int:
    return -(-max(length, 1) // PADDING_STEP) * PADDING_STEP
