"""The command line: the same engine as the operator, in the foreground."""
