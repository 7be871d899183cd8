"""What a model thinks, remembers and looks at, beside what it scores."""
