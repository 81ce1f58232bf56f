/*
 * What the tests with the fake kernel share: how QEMU gets it, and how its
 * journal is read.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_PRELOAD_H
#define TESTS_QTEST_VFIO_USER_PRELOAD_H

#include "fake-kernel.h"

/*
 * From now on programs that the test starts have the library preloaded, and
 * its journal at @journal. Aborts when there is no library.
 */
void preload_begin(const char *journal);

/* From now on they have not. */
void preload_end(void);

/*
 * What the journal has from byte @from on, its lines with ", " in between: "W
 * 3, SAVE 3/0"; *@end is where that ends. Free with g_free().
 */
char *preload_journal(const char *journal, size_t from, size_t *end);

/* Number of lines in such a text. */
unsigned preload_count_lines(const char *text);

#endif /* TESTS_QTEST_VFIO_USER_PRELOAD_H */
