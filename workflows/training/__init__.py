"""Training of autoencoders (stage 1) and of diffusion models (stage 2)."""
