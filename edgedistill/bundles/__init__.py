"""What goes to a board as one folder: its files, its serial, its signature, its archive formats."""
