"""Pages and tables, all from one record."""
