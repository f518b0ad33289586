"""`python -m bench.acceptance`."""

import sys

from bench.acceptance.validate import main

sys.exit(main())
