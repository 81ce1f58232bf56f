/*
 * Guest memory for tests of what reaches it: two regions, and as much of
 * QEMU's memory API as that asks for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_VFIO_USER_GUEST_RAM_H
#define TESTS_UNIT_VFIO_USER_GUEST_RAM_H

#include "exec/memory.h"

#define GUEST_RAM_SIZE 0x1000

/* What is in region i */
extern uint8_t guest_ram[2][GUEST_RAM_SIZE];
extern MemoryRegion guest_ram_regions[2];

#endif /* TESTS_UNIT_VFIO_USER_GUEST_RAM_H */
