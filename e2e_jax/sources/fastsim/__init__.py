"""Fast simulation: Pythia 8 events through a parametrised CMS detector, on the user's own machine."""
