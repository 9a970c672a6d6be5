"""The papers' update rules in float64 NumPy, one module per family, written from the formulas alone."""
