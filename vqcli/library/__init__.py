"""Models by the names users give them: found here, fetched, or imported."""
