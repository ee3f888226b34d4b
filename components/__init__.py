"""The stages of the Meditron recipe, one package each, on the floor they share (`components.platform`)."""
