"""From clean records to token ids and batches."""
