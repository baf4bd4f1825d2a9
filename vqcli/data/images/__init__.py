"""Images by index, each with a key: one file a source."""
