"""Whether what vqcli promises of faults, damage and hostile input holds: ``python -m tests.reliability``."""
