"""One training path for every model."""
