/*
 * Servers that go away and come back, for the vfio-user qtests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "reconnect.h"
#include "qapi/qmp/qdict.h"

Guest *reconnect_start(const char *machine, const MockConfig *mock)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = machine, .mock = mock,
        .device = RECONNECT_DEVICE, .keep_errors = true,
    };

    return guest_start_vm(&config);
}

/* libqtest's own wait drops all others, of which the wrong one may be one. */
static QDict *receive_event(VFIOUserTestVM *vm, const char *name)
{
    QDict *event = qtest_qmp_event_ref(vm->qts, name);

    while (!event) {
        QDict *message = qtest_qmp_receive_dict(vm->qts);
        const char *got = qdict_get_try_str(message, "event");

        if (got && g_str_equal(got, name)) {
            event = message;
        } else if (got && g_str_has_prefix(got, "VFIO_USER_")) {
            vfio_user_test_fail("%s instead of %s", got, name);
        } else {
            qobject_unref(message);
        }
    }
    return event;
}

static void wait_event(VFIOUserTestVM *vm, const char *name)
{
    QDict *event = receive_event(vm, name);
    QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "device-id"), ==, "dev0");
    g_assert_cmpstr(qdict_get_str(data, "qom-path"), ==,
                    "/machine/peripheral/dev0");
    qobject_unref(event);
    vfio_user_test_prolong();
}

void reconnect_wait_lost(VFIOUserTestVM *vm)
{
    wait_event(vm, "VFIO_USER_DISCONNECTED");
}

void reconnect_wait_back(VFIOUserTestVM *vm)
{
    wait_event(vm, "VFIO_USER_RECONNECTED");
}

void reconnect_assert_no_event(VFIOUserTestVM *vm, const char *name)
{
    QDict *event;

    vfio_user_test_settle(vm);
    event = qtest_qmp_event_ref(vm->qts, name);
    g_assert_null(event);
}

void reconnect_lose(VFIOUserTestVM *vm)
{
    mock_stop(vm->mock);
    reconnect_wait_lost(vm);
}

void reconnect_return(VFIOUserTestVM *vm, const MockConfig *mock)
{
    vfio_user_test_vm_restart_mock(vm, mock);
    reconnect_wait_back(vm);
}

void reconnect_lose_and_return(VFIOUserTestVM *vm, const MockConfig *mock)
{
    reconnect_lose(vm);
    reconnect_return(vm, mock);
}

unsigned reconnect_count_errors(VFIOUserTestVM *vm, const char *text)
{
    g_autofree char *errors = vfio_user_test_errors(vm);
    unsigned count = 0;
    const char *at;

    for (at = errors; (at = strstr(at, text)); at++) {
        count++;
    }
    return count;
}

void reconnect_wait_errors(VFIOUserTestVM *vm, const char *text,
                           unsigned number)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;

    while (reconnect_count_errors(vm, text) < number) {
        if (g_get_monotonic_time() >= deadline) {
            g_autofree char *errors = vfio_user_test_errors(vm);

            vfio_user_test_fail("\"%s\" is not in: %s", text, errors);
        }
        vfio_user_test_settle(vm);
    }
    vfio_user_test_prolong();
}
