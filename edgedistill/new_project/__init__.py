"""`edgedistill new`: look at a folder of images, say what is there, write a recipe."""
