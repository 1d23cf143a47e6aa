"""What one stage hands to the next: names of files, forms of artifacts."""
