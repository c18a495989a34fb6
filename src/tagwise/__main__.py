"""`python -m tagwise`, and the command `tagwise`."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C during the imports below ends the program silently, instead of with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from tagwise.cli import main

if __name__ == "__main__":
    sys.exit(main())
