"""Sources of images, and of tokens, by index; batches of them."""
