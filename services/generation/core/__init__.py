"""The business of generation: orders come in, loops carry each to its end, and Generations is the face of it all."""

from services.generation.core.counter import Counter
from services.generation.core.generations import Generations
from services.generation.core.history import History
from services.generation.core.links import Links
from services.generation.core.mailbox import Mailbox

__all__ = ["Counter", "Generations", "History", "Links", "Mailbox"]
