"""Built-in plugins as methods, their options, and interventions."""
