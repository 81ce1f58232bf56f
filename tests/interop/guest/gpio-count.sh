# Reads the lower eight lines, one after the other, again and again: each read
# of the driver is one of the device's first port.
#
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash

# shellcheck source=/dev/null # one of the files beside this one
. /scenario/gpio-lines.sh
for line in 0 1 2 3 4 5 6 7; do
    export_line $line
done
tick=0
while true; do
    tick=$((tick + 1))
    bits=
    for line in 0 1 2 3 4 5 6 7; do
        bits=$bits$(dd if="$(folder_of $line)/value" bs=1 count=1 2> /dev/null)
    done
    echo "tick $tick bits $bits"
    usleep 100000
done
