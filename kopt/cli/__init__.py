"""The command `kopt`."""
