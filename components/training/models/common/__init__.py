"""What the model families share: reading a configuration, rotary positions, norms, attention, MLP, head, plan."""
