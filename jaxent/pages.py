"""One web page to play with a loss."""
