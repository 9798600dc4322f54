"""Training: the step, the loop around it, and the choice of the best epoch."""
