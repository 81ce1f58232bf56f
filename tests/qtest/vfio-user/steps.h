/*
 * Migrations that the vfio-user qtests take step by step, to do something at a
 * moment that no VFIOUserTestMoment has.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_STEPS_H
#define TESTS_QTEST_VFIO_USER_STEPS_H

#include "guest.h"

typedef struct Migration {
    Guest *source;
    VFIOUserTestVM *destination;
} Migration;

/* Start both ends. @config says what they have in common; its name is not. */
void migration_start_vms(Migration *migration,
                         const VFIOUserTestVMConfig *config);

/* The same from the source's server (NULL: the default) and properties. */
void migration_start(Migration *migration, const MockConfig *mock,
                     const char *device);

/* End both. */
void migration_end(Migration *migration);

/* The same, of a migration that failed: the destination ends by itself. */
void migration_end_failed(Migration *migration);

/* Begin to migrate, with @bandwidth in bytes per second. */
void migration_run(Migration *migration, uint64_t bandwidth);

/*
 * The same, to be in pre-copy for some seconds, and past the first pass over
 * memory. The source's server must be a migration_slow_device().
 */
void migration_run_slowly(Migration *migration);

/* A device that has data for long. */
void migration_slow_device(MockConfig *mock);

/* Let what was slow come to its end, and complete. */
void migration_finish(Migration *migration);

/*
 * Wait until the migration is @status. Returns its error-desc or NULL, to be
 * freed with g_free().
 */
char *migration_wait(VFIOUserTestVM *vm, const char *status);

/* The source's device writes a page, by its own mapping of the memory. */
void migration_device_writes(Migration *migration, uint64_t iova,
                             uint8_t pattern);

/* When the migration has completed, a page of the destination holds @pattern */
void migration_assert_arrived(Migration *migration, uint64_t address,
                              uint8_t pattern);

/*
 * Each mapping was asked for its bitmap exactly as it was mapped, if the server
 * can write to it by itself; and nothing else was.
 */
void migration_assert_queries(Migration *migration);

#endif /* TESTS_QTEST_VFIO_USER_STEPS_H */
