"""One figure that shows how a loss trains."""
