"""The worker: a process that decodes what strangers sent, with little memory, little time and no right to write.

`python -m services.storage.pictures.worker MEMORY_BYTES CPU_SECONDS FOLDER...`, spoken to over its standard streams;
first of all it says what the kernel keeps it from.
"""

import resource
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image

from services.storage.pictures import bench, wire
from services.storage.pictures.anatomy import DamagedError, TooManyError
from services.storage.pictures.confinement import confine
from services.storage.pictures.look import TooLargeError

MAX_FILES = 32  # its streams, the picture, and what an import opens
JOBS: dict[str, Callable[..., wire.Message]] = {"inspect": bench.inspect, "derive": bench.derive}
# What Pillow and its codecs raise about a damaged file; anything else ends the worker, which says the same.
DAMAGED = (
    DamagedError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    struct.error,
    zlib.error,
)
NO_FILE = "NO_FILE"  # the file went away, or lies where a worker may not read: no fault of the picture
TOO_MUCH = "The picture needs more memory than we give it. Send a smaller one."
TOO_MANY_PIXELS = "The picture has more pixels than we take. Send a smaller one."
TOO_MANY = "The picture consists of too many parts. Save it anew and send that."
IS_DAMAGED = "The picture is damaged and cannot be decoded. Save it anew and send that."


def limit(memory_bytes: int) -> None:
    """Give up memory, files, and writing to any of them."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_FILES, MAX_FILES))
    warnings.simplefilter("ignore")


def allow(cpu_seconds: int) -> None:
    """Let the next job have so much time of the processor; the kernel ends it there."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + cpu_seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def done(job: dict[str, Any]) -> wire.Message:
    """The answer to a job: what was found or made, or why not."""
    try:
        return JOBS[job.pop("do")](**job)
    except (FileNotFoundError, PermissionError):
        return {"refused": NO_FILE}, b""
    except (TooLargeError, Image.DecompressionBombError) as refusal:
        return {"refused": "IMAGE_TOO_LARGE", "sentence": sentence_of(refusal)}, b""
    except MemoryError:
        return {"refused": "IMAGE_TOO_LARGE", "sentence": TOO_MUCH}, b""
    except TooManyError:
        return {"refused": "IMAGE_TOO_LARGE", "sentence": TOO_MANY}, b""
    except DAMAGED:
        return {"refused": "INVALID_IMAGE", "sentence": IS_DAMAGED}, b""


def sentence_of(refusal: Exception) -> str:
    """Ours says what is too large; Pillow's is for programmers."""
    return str(refusal) if isinstance(refusal, TooLargeError) else TOO_MANY_PIXELS


def main() -> None:
    """Work until nobody asks any more."""
    memory_bytes, cpu_seconds = map(int, sys.argv[1:3])
    limit(memory_bytes)
    say({"confined": confine(sys.argv[3:])})
    while message := wire.received(sys.stdin.buffer):
        allow(cpu_seconds)
        say(*done(message[0]))


def say(head: dict[str, Any], body: bytes = b"") -> None:
    """Write a message at once."""
    sys.stdout.buffer.write(wire.packed(head, body))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
