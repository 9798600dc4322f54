"""Sources of events: the simulation, ROOT files, CMS Open Data, public files."""
