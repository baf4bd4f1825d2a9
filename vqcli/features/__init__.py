"""Features: images in, vectors out, of which k-means makes a frozen codebook."""
