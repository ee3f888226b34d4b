"""An OpenAI-compatible server with a chat page, in front of vLLM or of transformers' own server."""
