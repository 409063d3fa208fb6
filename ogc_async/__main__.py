"""``python -m ogc_async`` is ``ogc``."""

from ogc_async.cli import main

main()
