# Changes one output after the other and tells what came of it: the output
# read back, the input that is wired to it, how often the card saw the line
# change, and the interrupts that Linux counted.
#
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash

# shellcheck source=/dev/null # one of the files beside this one
. /scenario/gpio-lines.sh
lines=16
line=0
while [ $line -lt $((2 * lines)) ]; do
    export_line $line
    line=$((line + 1))
done
# With one input watched the driver enables the card's interrupt
echo both > "$(folder_of $lines)/edge" || fail "no interrupt"
registers=${chip:?}/device/resource2

# The second column: there is one CPU
count_interrupts()
{
    # shellcheck disable=SC2046 # columns
    set -- $(grep gpiolib /proc/interrupts)
    interrupts=${2-}
}

tick=0
while true; do
    line=$((tick % lines))
    wanted=$(((tick / lines + 1) % 2))
    tick=$((tick + 1))
    echo $wanted > "$(folder_of $line)/value"
    output=$(value_of $line)
    input=$(value_of $((line + lines)))
    changes=$(dd if="$registers" bs=4 count=1 skip=$((4 + 2 * line)) \
              2> /dev/null | od -An -tu4)
    left=100
    count_interrupts
    while [ "$interrupts" -lt $tick ] && [ $left -gt 0 ]; do
        left=$((left - 1))
        usleep 20000
        count_interrupts
    done
    echo "tick $tick line $line wrote $wanted output $output input $input" \
         "changes $((changes)) interrupts $interrupts"
    usleep 20000
done
