"""What is computed on a device stays there, and is what a CPU computes."""
