"""One decoding path for every model."""
