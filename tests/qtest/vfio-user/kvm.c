/*
 * A VM of the vfio-user qtests with the fake of KVM, and what that saw.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"
#include "preload.h"

const char *vfio_user_test_begin_kvm(VFIOUserTestVM *vm)
{
    vm->kvm_seen = 0;
    g_assert_true(g_file_set_contents(vm->kvm_path, "", 0, NULL));
    g_setenv(FAKE_KERNEL_KVM, "on", true);
    preload_begin(vm->kvm_path);
    return "-accel kvm -cpu qemu64,check=off";
}

void vfio_user_test_end_kvm(void)
{
    preload_end();
    g_unsetenv(FAKE_KERNEL_KVM);
}

void vfio_user_test_assert_kvm_content(VFIOUserTestVM *vm)
{
    g_autofree char *text = NULL;

    if (g_file_get_contents(vm->kvm_path, &text, NULL, NULL) &&
        strstr(text, "BAD")) {
        vfio_user_test_fail("%s: KVM has a complaint: %s", vm->name, text);
    }
}

void vfio_user_test_assert_kvm(VFIOUserTestVM *vm, const char *expected)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
    unsigned count = preload_count_lines(expected);
    g_autofree char *lines = NULL;
    size_t end;

    do {
        g_free(lines);
        vfio_user_test_settle(vm);
        lines = preload_journal(vm->kvm_path, vm->kvm_seen, &end);
    } while (preload_count_lines(lines) < count &&
             g_get_monotonic_time() < deadline);
    g_assert_cmpstr(lines, ==, expected);
    vm->kvm_seen = end;
}
