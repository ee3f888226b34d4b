"""How fast the corpus stage is next to datatrove and to Hugging Face datasets with rensa: see README.md."""
