"""The science: what one trial computes. Needs torch and numpy; knows nothing of Ray or tables."""
