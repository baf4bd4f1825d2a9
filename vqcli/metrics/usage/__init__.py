"""How a codebook is used, counted exactly, and why it is used so."""
