"""Speed and memory on a board, predicted from published measurements."""
