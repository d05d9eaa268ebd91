"""What `divseg run` does with nothing set, on sets of images that none of its rules was chosen on."""
