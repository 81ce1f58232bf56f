# What the scenarios with Linux's driver gpio-pci-idio-16 have in common.
#
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash

gpio=/sys/class/gpio
set -- $gpio/gpiochip*          # the only one
chip=$1
[ -e "$chip/base" ] || fail "the driver has no lines"
read -r base < "$chip/base"

# Make a line's files; the driver's lines 0 to 15 are outputs, the rest inputs
export_line()
{
    echo $((base + $1)) > $gpio/export || fail "cannot export line $1"
}

# Where a line's files are: the driver gives them names
folder_of()
{
    if [ "$1" -lt 16 ]; then
        echo "$gpio/OUT$1"
    else
        echo "$gpio/IIN$(($1 - 16))"
    fi
}

# The value of a line
value_of()
{
    read -r value < "$(folder_of "$1")/value" || fail "cannot read line $1"
    echo "$value"
}
