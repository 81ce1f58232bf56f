/*
 * What of the guest's memory the device reaches, and by which mappings, for the
 * vfio-user qtests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_REACH_H
#define TESTS_QTEST_VFIO_USER_REACH_H

#include "framework.h"

/*
 * The device reads and writes the guest's memory at @address as its own at
 * @iova, by message and by the mapping's file descriptor.
 */
void reach_assert(VFIOUserTestVM *vm, uint64_t iova, uint64_t address);

/* The same, but what it writes is refused. */
void reach_assert_read_only(VFIOUserTestVM *vm, uint64_t iova,
                            uint64_t address);

/* The device has nothing at @iova. */
void reach_assert_nothing(VFIOUserTestVM *vm, uint64_t iova);

/* The same for messages alone: there may still be a mapping. */
void reach_assert_no_message(VFIOUserTestVM *vm, uint64_t iova);

/*
 * The server was told exactly these changes since journal entry vm->mark, which
 * moves to the end: "unmap 1000+2000, map 1000+3000 rw", numbers in hexadecimal
 * and "no-fd" behind a map without file descriptor.
 */
void reach_assert_changes(VFIOUserTestVM *vm, const char *expected);

/* The same, but of maps alone: each other change is to be an unmap. */
void reach_assert_maps(VFIOUserTestVM *vm, const char *expected);

#endif /* TESTS_QTEST_VFIO_USER_REACH_H */
