"""Many files, on every core of one machine or of many: what is read, how it is cut, and the engine that shares it out."""
