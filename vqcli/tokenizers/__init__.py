"""Networks around a quantizer: one file a family."""
