"""What is wrong with data before anything is trained on it: facts of each file, cached, then findings. No torch."""
