"""The deterministic simulator: the product's own code on a virtual clock, network and disk."""
