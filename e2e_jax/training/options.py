"""The training options in the config, in addition to those of an experiment."""

from __future__ import annotations

import dataclasses

import optax

from e2e_jax.datasets.batches import Sampling
from e2e_jax.training import optimizer as optimizers
from e2e_jax.training.losses import Penalty


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a training. Most attributes are fields of `config.train`.

    Attributes:
      batch_size: events per step, summed over all devices.
      epochs: maximum number of epochs.
      learning_rate: initial learning rate of Adam.
      schedule: schedule of the learning rate, one of `optimizer.SCHEDULES`.
      warmup, optimizer, weight_decay, clip_norm: as for `optimizer.learning_rate` and `optimizer.optimizer`.
      average: decay per step of the moving average of the parameters; 0 for none.
      label_smoothing: as for `losses.cross_entropy`.
      augment: symmetry transformations of training events, names from `augmentation.AUGMENTATIONS`.
      patience: number of epochs without progress after which the training stops.
      checkpoint_seconds: seconds between checkpoints within an epoch; 0: after every step.
      placement: placement of the training sample, one of `placement.PLACES`.
      penalty: penalty on a dependence of the score on the task's decorrelation observable.
      profile: whether to write a profile of a few steps.
      start_from: the run whose parameters initialize the training; "" for random parameters.
      start_parts: the parameters to take from it, "all" or "features".
      seed: seed of the parameters and of the order of the events.
    """

    batch_size: int
    epochs: int
    learning_rate: float
    schedule: str = "constant"
    warmup: float = 0.0
    optimizer: str = "adam"
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    average: float = 0.0
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()
    patience: int = 5
    checkpoint_seconds: float = 60.0
    placement: str = "auto"
    penalty: Penalty = dataclasses.field(default_factory=Penalty)
    profile: bool = False
    start_from: str = ""
    start_parts: str = "all"
    seed: int = 0

    @classmethod
    def of(cls, config) -> Options:
        """The options from a config."""
        train = config.train.to_dict()
        # Part of the experiment, because metrics also use the weights.
        del train["weights"]
        return cls(
            **train,
            placement=config.data.placement,
            penalty=Penalty(**config.decorrelation.to_dict()),
            profile=config.profile,
            start_from=config.model.start_from,
            start_parts=config.model.start_parts,
            seed=config.seed,
        )

    def made_optimizer(self, steps: int = 1) -> optax.GradientTransformation:
        """The optimizer of a training with `steps` steps per epoch."""
        rate = optimizers.learning_rate(self.schedule, self.learning_rate, self.epochs * steps, self.warmup)
        return optimizers.optimizer(self.optimizer, rate, self.weight_decay, self.clip_norm)

    def sampling(self, flat: bool) -> Sampling:
        """How the epochs are drawn; `flat` as for `Sampling`."""
        return Sampling(self.batch_size, self.seed, self.epochs, flat)
