"""Using an exported model: a conversation in the terminal, and an OpenAI-compatible server with a chat page."""
