"""One recipe, every deep-learning framework, the same numbers."""
