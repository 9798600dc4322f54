"""Training: the step, the training loop, and the choice of the best epoch."""
