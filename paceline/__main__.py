"""`python -m paceline`."""

from paceline.proxy.cli import main

main()
