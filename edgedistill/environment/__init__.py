"""What is installed on this computer, and what of its environment may go further."""
