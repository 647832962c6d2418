"""What `toolkit serve` is made of: an HTTP server that answers as `toolkit predict` does."""
