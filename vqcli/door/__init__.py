"""What ``import vqcli`` gives to Python: models, tokens and usage, for direct use."""
