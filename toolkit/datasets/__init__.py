"""Labelled reviews: splits, importers, the torch data set."""
