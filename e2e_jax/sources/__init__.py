"""Where events come from: CMS files or the embedded simulation, as one record."""
