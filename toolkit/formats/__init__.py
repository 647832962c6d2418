"""The one way to open and parse a file of texts: sources, records with a place, errors with a reason."""
