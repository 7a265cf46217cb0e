"""Decoding pictures and making smaller ones, in worker processes that the kernel confines."""
