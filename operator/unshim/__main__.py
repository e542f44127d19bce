"""`python -m unshim`."""

import sys

from unshim.cli.main import main

sys.exit(main())
