"""The kinds of events by name."""

from e2e_jax.events.base import Record
from e2e_jax.events.diphotons import Events
from e2e_jax.events.jets import Jets
from e2e_jax.events.showers import Showers

KINDS: dict[str, type[Record]] = {"collisions": Events, "showers": Showers, "jets": Jets}
