# Writes one chunk of random data after the other to an NVMe disk, reading each
# back into the page cache, and in the end all of it from there and from the
# disk. When the disk goes away it waits for the next one, and goes on there.
#
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash

size=256K

find_disk()
{
    set -- /dev/nvme*n1         # the only one
    disk=$1
    [ -b "$disk" ]
}

# The page cache of a disk is lost when nobody has it open
open_disk()
{
    wait_until 60 find_disk
    exec 3< "$disk"
}

is_gone()
{
    [ ! -e "$disk" ]
}

write_chunk()
{
    dd if=/tmp/data of="$disk" bs=$size seek=$chunk oflag=direct 2> /dev/null
}

# The checksum of so many chunks from this one on. What has just been written
# is not in the page cache, what has been read is.
sum_of()
{
    dd if="$disk" bs=$size skip="$1" count="$2" 2> /dev/null |
        sha256sum | cut -c1-64
}

open_disk
chunk=0
while [ $chunk -lt "${chunks:?}" ]; do
    dd if=/dev/urandom of=/tmp/data bs=$size count=1 2> /dev/null ||
        fail "no random data"
    written=$(sha256sum /tmp/data | cut -c1-64)
    until write_chunk; do
        echo "disk lost at chunk $chunk"
        exec 3<&-
        wait_until 60 is_gone
        open_disk
        echo "disk found again"
    done
    echo "chunk $chunk wrote $written read $(sum_of $chunk 1)"
    chunk=$((chunk + 1))
done
sync
echo "driver timeouts $(dmesg | grep -c 'nvme.* timeout')"
echo "cache holds $(sum_of 0 "$chunks")"
echo 3 > /proc/sys/vm/drop_caches
echo "disk holds $(sum_of 0 "$chunks")"
poweroff -f
sleep 3600
