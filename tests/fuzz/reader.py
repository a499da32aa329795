"""The child process of the fuzzer: reads the files it is told to and says how each went.

Each line on standard input is a JSON object with ``kind``, ``path`` and ``show``; the answer is one JSON line. A
native crash or a hang ends only this process, and the parent sees it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from itertools import islice

ADDRESS_SPACE = 12 * 2**30
FRAMES = 40


def attempt(kind: str, path: str, show: bool) -> str:
    """``"read"``, ``"refused"``, or the traceback of an error that is not ours."""
    from harmonia import media
    from harmonia.core.errors import HarmoniaError

    try:
        thing = getattr(media, kind).read(path)
        if kind == "Video":
            for _ in islice(thing, FRAMES):
                pass
        if show:
            thing.show()
    except HarmoniaError:
        return "refused"
    except BaseException:
        return traceback.format_exc()
    return "read"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what native libraries print must not disturb the replies
    for line in sys.stdin:
        task = json.loads(line)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome = attempt(task["kind"], task["path"], task["show"])
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps({"outcome": outcome, "grown_mib": grown / 1024}), file=replies, flush=True)


if __name__ == "__main__":
    main()
