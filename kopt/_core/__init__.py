"""What every floor above shares: argument checks, numerics, and configs from constructor signatures."""
