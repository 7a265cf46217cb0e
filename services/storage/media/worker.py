"""The worker process, which decodes untrusted files: the kernel bounds its memory and time, and confines it.

`python -m services.storage.media.worker MEMORY_BYTES CPU_SECONDS FOLDER...`, with jobs over its
standard streams; its first message names the confinements in force.
"""

import resource
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image

from services.storage.media import decode, worker_protocol
from services.storage.media.confinement import confine
from services.storage.media.decode import TooLargeError
from services.storage.media.format_parser import DamagedError, TooManyError

MAX_FILES = 32  # its streams, the picture, and what an import opens
JOBS: dict[str, Callable[..., worker_protocol.Message]] = {"inspect": decode.inspect, "derive": decode.derive}
# What Pillow and its codecs raise about a damaged file; anything else ends the worker, which counts as damaged too.
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
TOO_MUCH = "The picture needs more memory than we give it. Send a smaller one."
TOO_MANY_PIXELS = "The picture has more pixels than we take. Send a smaller one."
TOO_MANY = "The picture consists of too many parts. Save it anew and send that."
IS_DAMAGED = "The picture is damaged and cannot be decoded. Save it anew and send that."


def _limit(memory_bytes: int) -> None:
    """Limit memory and open files, and forbid writing."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_FILES, MAX_FILES))
    warnings.simplefilter("ignore")


def _allow(cpu_seconds: int) -> None:
    """Give the next job so much processor time; the kernel kills the worker beyond it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + cpu_seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def done(job: dict[str, Any]) -> worker_protocol.Message:
    """Do a job; the message with its result, or with the reason of the refusal."""
    try:
        return JOBS[job.pop("do")](**job)
    except (FileNotFoundError, PermissionError):
        return {"refused": worker_protocol.NO_FILE}, b""
    except (TooLargeError, Image.DecompressionBombError) as refusal:
        return {"refused": "IMAGE_TOO_LARGE", "sentence": _sentence_of(refusal)}, b""
    except MemoryError:
        return {"refused": "IMAGE_TOO_LARGE", "sentence": TOO_MUCH}, b""
    except TooManyError:
        return {"refused": "IMAGE_TOO_LARGE", "sentence": TOO_MANY}, b""
    except DAMAGED:
        return {"refused": "INVALID_IMAGE", "sentence": IS_DAMAGED}, b""


def _sentence_of(refusal: Exception) -> str:
    """The sentence for the client: our own, or a general one in place of Pillow's."""
    return str(refusal) if isinstance(refusal, TooLargeError) else TOO_MANY_PIXELS


def main() -> None:
    """Do jobs until the input ends."""
    memory_bytes, cpu_seconds = map(int, sys.argv[1:3])
    _limit(memory_bytes)
    _say({"confined": confine(sys.argv[3:])})
    while message := worker_protocol.received(sys.stdin.buffer):
        _allow(cpu_seconds)
        _say(*done(message[0]))


def _say(head: dict[str, Any], body: bytes = b"") -> None:
    """Write a message at once."""
    sys.stdout.buffer.write(worker_protocol.packed(head, body))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
