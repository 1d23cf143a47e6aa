"""The Python interface: one function a verb of the command line."""
