"""Jets of quarks and of gluons, and boosted top quarks."""
