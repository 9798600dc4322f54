"""Diphoton events of CMS in 2012 conditions, with their detector hits."""
