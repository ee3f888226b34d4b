"""What runs the model: one small interface, one module for each library behind it."""
