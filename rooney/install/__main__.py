"""`python3 -m rooney.install`: needs nothing but Python."""

import sys

from rooney.install.command import main

sys.exit(main(sys.argv[1:]))
