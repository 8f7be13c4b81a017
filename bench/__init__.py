"""Benchmarks: side by side with PyTorch, as ratios, stored with the versions and the machine they were taken on."""
