"""Runs LocalStack until the standard input ends, which it does with the process that started this one."""

import os
import shutil
import sys
import threading


def end_with_standard_input():
    while os.read(sys.stdin.fileno(), 4096):
        pass
    # Nobody is there to see an orderly end, and nothing has to be kept.
    shutil.rmtree(os.environ["FILESYSTEM_ROOT"], ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_standard_input, daemon=True).start()

    from localstack.runtime.main import main

    main()
