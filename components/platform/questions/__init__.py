"""Multiple-choice questions as every stage sees them: read, sampled, and put into chat messages."""
