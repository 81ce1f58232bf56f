/*
 * Guest memory for tests of what reaches it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/address-spaces.h"
#include "guest-ram.h"

uint8_t guest_ram[2][GUEST_RAM_SIZE];
MemoryRegion guest_ram_regions[2];
AddressSpace address_space_memory;

void *memory_region_get_ram_ptr(MemoryRegion *mr)
{
    return guest_ram[mr - guest_ram_regions];
}

void memory_region_ref(MemoryRegion *mr)
{
}

/* As far as was mapped, and only after it was written to */
void address_space_unmap(AddressSpace *as, void *buffer, hwaddr len,
                         bool is_write, hwaddr access_len)
{
    g_assert_true(is_write);
    g_assert_cmpuint(len, ==, access_len);
}
