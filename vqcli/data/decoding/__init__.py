"""What decoding needs to know of formats, colours and tags."""
