# Writes random data to an NVMe disk and reads it back; after a reboot, reads
# it once more and turns the machine off. The first sector holds the sum.
#
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash

disk=/dev/nvme0n1
mebibytes=4

# The checksum of what is on the disk, past the page cache
sum_of_disk()
{
    echo 3 > /proc/sys/vm/drop_caches
    dd if=$disk bs=1M skip=1 count=$mebibytes iflag=direct 2> /dev/null |
        sha256sum | cut -c1-64
}

first_sector()
{
    dd if=$disk bs=4096 count=1 iflag=direct 2> /dev/null | tr -d '\000'
}

wait_until 30 test -b $disk
echo "disk size $(cat /sys/block/nvme0n1/size)"
written=$(first_sector)
if [ -z "$written" ]; then
    dd if=/dev/urandom of=/tmp/data bs=1M count=$mebibytes 2> /dev/null ||
        fail "no random data"
    written=$(sha256sum /tmp/data | cut -c1-64)
    dd if=/tmp/data of=$disk bs=1M seek=1 oflag=direct 2> /dev/null ||
        fail "cannot write to the disk"
    echo "$written" > /tmp/sum
    dd if=/tmp/sum of=$disk bs=4096 conv=sync 2> /dev/null ||
        fail "cannot write the sum to the disk"
    sync
    echo "disk wrote $written read $(sum_of_disk)"
    reboot -f
else
    echo "disk found $written read $(sum_of_disk)"
    poweroff -f
fi
sleep 3600
