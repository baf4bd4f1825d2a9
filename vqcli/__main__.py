"""``python -m vqcli``."""

from vqcli.cli.app import main

if __name__ == "__main__":
    main()
