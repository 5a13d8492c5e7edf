"""Package data: the demo classifier in every supported format, and sample images with their evidence."""
