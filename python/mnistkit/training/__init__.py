"""Training: recipe, augmentation, schedule, weight average, the loop and the run folder."""
