"""The int8 net: calibration, fine-tuning, its one definition and the arithmetic of it."""
