# Brings a network card up and talks to the gateway.
#
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash

card=eth0
gateway=10.0.2.2

answers()
{
    ping -c 1 -W 1 $gateway > /dev/null
}

wait_until 30 test -e /sys/class/net/$card
driver=$(readlink /sys/class/net/$card/device/driver)
echo "network driver ${driver##*/}"
ip link set $card up || fail "cannot bring $card up"
wait_until 30 grep -qx 1 /sys/class/net/$card/carrier
ip address add 10.0.2.15/24 dev $card || fail "no address for $card"
wait_until 10 answers
ping -c 5 -i 0.2 -s 1400 $gateway | grep transmitted
echo "network interrupts $(grep -c "$card" /proc/interrupts)"
sleep 3600
