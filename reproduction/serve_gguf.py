"""Serve a GGUF file on loopback with llama.cpp, for `--llm http://127.0.0.1:8080/v1#NAME`.

    python -m venv venv-server && venv-server/bin/pip install xllamacpp==2026.10.11549
    venv-server/bin/python reproduction/serve_gguf.py smollm2-135m.gguf

The package xllamacpp has llama.cpp's server but no command for it, so this script is one. It needs nothing of hardneg, and
runs until Ctrl-C or a signal to end.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="GGUF file.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="Threads; default: one for each core.")
    parser.add_argument("--parallel", type=int, default=4, help="Requests that are decoded together.")
    parser.add_argument("--context", type=int, default=4096, help="Maximum tokens of a prompt and its answer.")
    arguments = parser.parse_args()
    if not arguments.model.is_file():
        sys.exit(f"{arguments.model} does not exist, expected a GGUF file; check the path")
    try:
        import xllamacpp
    except ImportError:
        sys.exit("found no package xllamacpp; run pip install xllamacpp in this environment")
    params = xllamacpp.CommonParams()
    params.model.path, params.port = str(arguments.model), arguments.port
    params.n_parallel, params.n_ctx = arguments.parallel, arguments.parallel * arguments.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # the threads of the server inherit it
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1#{arguments.model.stem}", flush=True)
    signal.sigwait(ends)
    os._exit(0)  # the threads of the server would keep the process


if __name__ == "__main__":
    main()
