"""What the public modules share: checks, numerics, kernels. Nothing here is public."""
