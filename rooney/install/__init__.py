"""`rooney install`, `rollback`, `uninstall`: a machine that trades, from a checkout, as root. Standard library only.

sudo python3 -m rooney.install          in the checkout: installs, and later upgrades

layout.py    where everything lies, the versions, the atomic switch
host.py      commands, systemd and the files of this machine
build.py     a version: its virtual environment and what it ships
redis.py     Debian's redis-server made fit for the tape
command.py   the three verbs
"""
