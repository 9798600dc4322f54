"""A profile of a few training steps on host and device, for TensorBoard or Perfetto."""

import jax

STEPS = 4
"""Minimum number of steps in a profile, if the epoch has enough steps left."""


def profiled(feed, folder):
    """A feed (`placement.Feed`) that writes a profile of its first steps after the compilation.

    Args:
      feed: feed of the training.
      folder: folder in which `jax.profiler` writes the profile, in a subfolder named by the time.
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
                # The work of a piece is complete when it is returned.
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
