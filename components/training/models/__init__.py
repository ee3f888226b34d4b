"""Model families. Each folder holds one: its configuration, its modules, and how it is split and converted."""
