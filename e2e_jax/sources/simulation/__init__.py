"""The fast simulation: Pythia 8 and a parametrized detector."""
