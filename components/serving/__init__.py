"""Using an exported model."""
