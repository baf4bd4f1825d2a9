"""How latents become tokens and back: one file a quantizer."""
