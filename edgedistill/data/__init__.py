"""From files to a split, decoded, hashed set of images."""
