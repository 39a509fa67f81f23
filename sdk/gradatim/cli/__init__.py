"""The `gradatim` command: thin over `gradatim.client` and `gradatim.platform`, with no state of its own.

Everything it does can be done with kubectl or the Python client. Modules here import heavy things inside the commands that need them, so
that `gradatim --help` stays quick.
"""
