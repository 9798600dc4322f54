"""ROOT files, local or remote: AODSIM and flat ntuples."""
