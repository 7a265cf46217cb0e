"""The business of generation: orders come in, loops carry each to its end, and Generations is the face of it all."""

from services.generation.core.generations import Generations

__all__ = ["Generations"]
