"""What the user asks for: the recipe by section, where it is read from, and the target boards."""
