"""What commands read from."""

import io


def piped(text: str | bytes) -> io.TextIOWrapper:
    """Standard input into which this was piped."""
    return io.TextIOWrapper(io.BytesIO(text if isinstance(text, bytes) else text.encode()))
