"""Package data: the demo models in every supported format, and samples of their inputs with their evidence."""
