"""Runs a program on a terminal of 100 columns, or of TERMINAL_COLUMNS, and prints what the terminal was sent; ends as the program does.

    on_terminal.py PROGRAM [ARGUMENT...]
"""

import fcntl
import os
import pty
import struct
import sys
import termios


def main() -> int:
    child, terminal = pty.fork()
    if child == 0:
        # The size must be known before the program looks.
        columns = int(os.environ.pop("TERMINAL_COLUMNS", "100"))
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        os.execv(sys.argv[1], sys.argv[1:])
    while True:
        try:
            sent = os.read(terminal, 65536)
        except OSError:
            # The program has closed its end.
            break
        if not sent:
            break
        sys.stdout.buffer.write(sent)
    sys.stdout.flush()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
