"""`python -m rooney`."""

from rooney.cli import main

main()
