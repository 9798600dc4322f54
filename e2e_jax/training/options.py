"""What a training adds to an experiment, as the config has it."""

from __future__ import annotations

import dataclasses

from e2e_jax.datasets.batches import Sampling
from e2e_jax.training.losses import Penalty


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a training. Most attributes are fields of `config.train`.

    Attributes:
      batch_size: events per step, over all devices.
      epochs: the most epochs.
      learning_rate: of Adam, at the start.
      schedule: of the learning rate, "constant" or "cosine".
      patience: epochs without progress after which the training stops.
      checkpoint_seconds: between checkpoints within an epoch; 0 for one after every step.
      placement: where the training sample is, one of `placement.PLACES`.
      penalty: on a dependence of the score on the observable that the task decorrelates from.
      profile: whether a profile of a few steps is written.
      seed: of the parameters and of the order of the events.
    """

    batch_size: int
    epochs: int
    learning_rate: float
    schedule: str = "constant"
    patience: int = 5
    checkpoint_seconds: float = 60.0
    placement: str = "auto"
    penalty: Penalty = dataclasses.field(default_factory=Penalty)
    profile: bool = False
    seed: int = 0

    @classmethod
    def of(cls, config) -> Options:
        """The options that a config describes."""
        return cls(
            **config.train.to_dict(),
            placement=config.data.placement,
            penalty=Penalty(config.cvm.strength, config.cvm.neighbors, config.cvm.reduction),
            profile=config.profile,
            seed=config.seed,
        )

    def sampling(self, flat: bool) -> Sampling:
        """How the epochs are drawn; `flat` as for `Sampling`."""
        return Sampling(self.batch_size, self.seed, self.epochs, flat)
