/*
 * What the qtests of hostile servers share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_HOSTILE_H
#define TESTS_QTEST_VFIO_USER_HOSTILE_H

#include "framework.h"

/* A device whose BAR2 may be mapped, but for its first page */
#define HOSTILE_BAR2_SIZE 0x4000
void hostile_mappable_device(MockConfig *mock);

/*
 * dev0 is lost, for just this reason, which QEMU says once in a line and in an
 * event, and to whoever wants to migrate; the guest runs. @vm keeps its errors.
 */
void hostile_assert_lost(VFIOUserTestVM *vm, const char *reason);

/* Registration */
void vfio_user_test_add_hostile(void);
void vfio_user_test_add_hostile_device(void);
void vfio_user_test_add_identity(void);
void vfio_user_test_add_mistake(void);
void vfio_user_test_add_shrink(void);

#endif /* TESTS_QTEST_VFIO_USER_HOSTILE_H */
