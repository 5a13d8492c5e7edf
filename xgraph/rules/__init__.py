"""Rules: what arrives at a node's inputs, given what arrived at its outputs. Pure emission, no run time."""
