"""Saliency of hits for a class: the gradient of the score, through the images, with respect to each hit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.events.diphotons import COLLECTIONS, Events
from e2e_jax.inference.ensemble import one_network
from e2e_jax.inference.prediction import Classifier
from e2e_jax.models import backend, heads
from e2e_jax.models.forward import logits_function

STRENGTHS = {"eb": "energy", "ee": "energy", "hcal": "energy", "tracks": "pt"}
"""Variables of the gradient: the hits' energies and the tracks' transverse momenta, in GeV."""

CHUNK = 12
"""Events whose gradients are computed together; the feature maps of an event take some megabytes."""


def hit_gradients(classifier: Classifier, events: Events, name: str = "") -> dict[str, np.ndarray]:
    """Gradient of a class's probability with respect to the energy of every hit.

    This is the increase of an event's probability, to first order, per GeV added to an existing hit. The
    observable by which images are divided is constant. A hit outside the images, or with its pixel below the
    threshold, has the gradient 0.

    Args:
      classifier: a classifier that uses images.
      events: any events.
      name: one of `classifier.classes`; the signal by default.

    Returns:
      {"eb": f4 [hits], ...} in 1/GeV, one array for each of `STRENGTHS`, in the order of `events.eb.energy`.

    Raises:
      ValueError: the class is unknown, or the classifier uses no hits.
      WorkdirError: the classifier is an ensemble.
    """
    classifier = one_network(classifier)
    if not classifier.task.classifies:
        raise ValueError("This network predicts observables, and hits have gradients for classes only.")
    inputs, name = classifier.inputs, name or classifier.task.signal
    if name not in classifier.classes:
        raise ValueError(f"There is no class {name!r}; there are {', '.join(classifier.classes)}.")
    if (kind := classifier.task.events) != "collisions":
        raise ValueError(
            f"This classifier sees {kind}, whose hits have no gradients. Take a classifier of collisions "
            'whose config.inputs.kind is "images".'
        )
    if inputs.kind not in ("images", "tokens"):
        raise ValueError(f"This classifier sees {inputs.kind}: its score does not depend on any hit.")
    # With XLA, which computes the gradient of images; the C++ code for CPUs does not.
    logits_of = logits_function(classifier.network, inputs, backend.ANY)
    column = classifier.classes.index(name)

    def score(strengths, batch):
        hits = {c: {**batch[c], STRENGTHS[c]: strengths[c]} for c in COLLECTIONS}
        logits = logits_of(classifier.params, {**batch, **hits})
        # Events are independent, so the gradient of the sum contains the gradient of each.
        return jnp.sum(heads.predictions(logits, classifier.task)[:, column])

    gradient = jax.jit(jax.grad(score))
    lengths = {c: int(getattr(events, c).counts.max(initial=1)) for c in COLLECTIONS}
    parts = {c: [np.zeros(0, np.float32)] for c in COLLECTIONS}
    for start in range(0, len(events), CHUNK):
        some = events[start : start + CHUNK]
        batch = some.to_batch(lengths)
        made = gradient({c: batch[c][STRENGTHS[c]] for c in COLLECTIONS}, batch)
        for c in COLLECTIONS:
            filled = np.arange(lengths[c]) < getattr(some, c).counts[:, None]
            parts[c].append(np.asarray(made[c])[filled])
    return {c: np.concatenate(part) for c, part in parts.items()}
