"""Labels to tokens or latents."""
