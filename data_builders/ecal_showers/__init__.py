"""Electrons and photons of particle guns in the ECAL barrel, and pairs of them."""
