"""How many digits of a loss are right: jaxent and others against 50-digit arithmetic."""
