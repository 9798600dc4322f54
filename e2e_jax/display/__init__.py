"""Pictures of events, as Figure 1 of the paper (arXiv:1807.11916) shows one.

    e2e-jax display FILE --event N --output DIR

or, in a program, `figure.event_figure(events, index)` for the whole picture and
`figure.draw_event(axes, events, index)` for one image of the detector in axes of one's own.
"""
