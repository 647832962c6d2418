"""An evaluation for readers: figures, charts, mistakes and slices in a folder, and two such folders compared."""
