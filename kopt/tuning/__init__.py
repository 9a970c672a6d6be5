"""Search for hyperparameters: what to try, in which order, and what came of it."""
