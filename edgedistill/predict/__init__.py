"""What is published about speed on the boards."""
