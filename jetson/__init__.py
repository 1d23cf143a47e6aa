"""What runs on the board, from the bundle's folder: Python 3.6 and numpy, nothing installed.

python3 -m jetson VERB, see jetson/verbs; the last line on stdout is one JSON.
"""
