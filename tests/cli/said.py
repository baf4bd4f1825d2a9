"""What a command that fails may say."""


def refused(result, message, hint):
    """One sentence and one hint, exit code 1, nothing on stdout, no traceback."""
    said = [line for line in result.stderr.splitlines() if line.startswith(("error", "hint"))]
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(said) == 2
    assert message in said[0]
    assert hint in said[1]
    assert "internal" not in result.stderr
    return True
