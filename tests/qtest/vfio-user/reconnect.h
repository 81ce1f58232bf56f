/*
 * Servers that go away and come back, for the vfio-user qtests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_RECONNECT_H
#define TESTS_QTEST_VFIO_USER_RECONNECT_H

#include "guest.h"

/* Properties: a try each second */
#define RECONNECT_DEVICE "reconnect=1"

/* Start a VM with such a device and keep_errors; NULL takes the default. */
Guest *reconnect_start(const char *machine, const MockConfig *mock);

/* Wait for the event that says dev0 is lost, and that it is back. */
void reconnect_wait_lost(VFIOUserTestVM *vm);
void reconnect_wait_back(VFIOUserTestVM *vm);

/* There is no such event, "VFIO_USER_RECONNECTED", that was not waited for. */
void reconnect_assert_no_event(VFIOUserTestVM *vm, const char *name);

/* End the server; QEMU has noticed. */
void reconnect_lose(VFIOUserTestVM *vm);

/* Start another one (NULL: the default); dev0 is back. */
void reconnect_return(VFIOUserTestVM *vm, const MockConfig *mock);

/* Both, one after the other */
void reconnect_lose_and_return(VFIOUserTestVM *vm, const MockConfig *mock);

/*
 * Wait until QEMU has written @text to standard error @number times; needs
 * keep_errors.
 */
void reconnect_wait_errors(VFIOUserTestVM *vm, const char *text,
                           unsigned number);

/* How often @text is in what QEMU has written there. */
unsigned reconnect_count_errors(VFIOUserTestVM *vm, const char *text);

#endif /* TESTS_QTEST_VFIO_USER_RECONNECT_H */
