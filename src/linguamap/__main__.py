"""``python -m linguamap`` is the command ``linguamap``; ``accelerate launch -m linguamap`` needs it."""

from linguamap.cli import main

main()
