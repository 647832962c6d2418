"""The commands of the command line, one module each, loaded when one is asked for."""
