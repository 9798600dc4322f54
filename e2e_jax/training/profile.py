"""A profile of a few steps of a training: what host and device do when, for TensorBoard or Perfetto."""

import jax

STEPS = 4
"""Steps to have in a profile, at least, where the epoch has as many left."""


def profiled(feed, folder):
    """A feed (`placement.Feed`) that writes a profile of its first steps after those that compile.

    Args:
      feed: the training's.
      folder: where `jax.profiler` writes the profile, in a folder named by the time.
    """
    compiled = finished = False

    def traced(state, epoch, first):
        nonlocal compiled, finished
        pieces, steps, tracing = feed(state, epoch, first), 0, False
        try:
            while True:
                if compiled and not finished and not tracing:
                    jax.profiler.start_trace(folder)
                    tracing = True
                # The work of a piece is done when it is handed over.
                if (piece := next(pieces, None)) is None:
                    return
                compiled = True
                steps += len(piece[1]) if tracing else 0
                if steps >= STEPS and tracing:
                    jax.profiler.stop_trace()
                    tracing, finished = False, True
                yield piece
        finally:
            if tracing:
                jax.profiler.stop_trace()
                finished = steps > 0

    return traced
