"""Where code vectors come from: one file a codebook."""
