"""Pictures of events, like Figure 1 of the paper (arXiv:1807.11916).

    e2e-jax display FILE --event N --output DIR

In a program, `figure.event_figure(events, index)` makes the whole picture, and
`figure.draw_event(axes, events, index)` draws one image of the detector into given axes.
"""
