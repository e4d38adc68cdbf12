"""Training: assembling the parts, the loop, sessions, observers."""
