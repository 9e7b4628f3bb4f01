"""``python -m smgw_emu`` is the ``smgw`` command."""

from smgw_emu.cli import main

main()
