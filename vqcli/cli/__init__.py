"""The command line: arguments in, one job call, one result out."""
