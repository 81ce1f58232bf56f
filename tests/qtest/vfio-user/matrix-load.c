/*
 * The fault matrix at the destination of a migration, where each cell needs a
 * QEMU of its own: most of them end it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "matrix.h"
#include "qapi/qmp/qdict.h"

static char *stream_path;

static VFIOUserTestVM *start_vm(const MatrixRow *row, const char *name,
                                const char *properties, const char *options)
{
    g_autofree char *device = g_strdup_printf("x-no-posted-writes=on%s",
                                              properties);
    MockConfig mock;
    VFIOUserTestVMConfig config = {
        .name = name, .machine = "pc", .mock = &mock, .device = device,
        .options = options, .keep_errors = true,
        .ram_size = 16 * 1024 * 1024,
    };

    matrix_mock_config(row, &mock);
    return vfio_user_test_vm_new(&config);
}

/* What a source sends, for all cells */
static const char *stream(const MatrixRow *row)
{
    g_autoptr(VFIOUserTestVM) vm = NULL;
    g_autofree char *uri = NULL;
    int fd;

    if (stream_path) {
        return stream_path;
    }
    fd = g_file_open_tmp("vfio-user-test-XXXXXX", &stream_path, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    uri = g_strdup_printf("exec:cat > %s", stream_path);
    vm = start_vm(row, "source", "", NULL);
    vfio_user_test_qmp(vm, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    qobject_unref(vfio_user_test_wait_migration(vm, "completed"));
    return stream_path;
}

void matrix_load_end(void)
{
    if (stream_path) {
        unlink(stream_path);
        g_clear_pointer(&stream_path, g_free);
    }
}

void matrix_act_load(MatrixCell *cell)
{
    g_autofree char *uri = g_strdup_printf("exec:cat %s", stream(cell->row));

    matrix_arm(cell);
    vfio_user_test_qmp(cell->vm, "{'execute': 'migrate-incoming',"
                       " 'arguments': {'uri': %s}}", uri);
}

/* QEMU is as the row says, or has ended. */
static void check_status(MatrixCell *cell, MatrixEffect effect)
{
    const char *status = effect == MATRIX_NOTHING ? "running" :
                         effect == MATRIX_REFUSED ? cell->row->refused_status :
                                                    cell->row->dead_status;

    if (!status) {
        vfio_user_test_vm_wait_exit(cell->vm, 1);
        return;
    }
    qobject_unref(vfio_user_test_wait_migration(cell->vm, "completed"));
    vfio_user_test_settle(cell->vm);
    vfio_user_test_assert_status(cell->vm, status);
}

static void check_load_said(MatrixCell *cell, MatrixEffect effect)
{
    const MatrixRow *row = cell->row;
    g_autofree char *dead = g_strconcat("dev0: lost: $reason\n",
                                        row->dead_said, NULL);

    switch (effect) {
    case MATRIX_NOTHING:
        matrix_check_said(cell, "", NULL);
        break;
    case MATRIX_REFUSED:
        matrix_check_said(cell, row->refused_said, NULL);
        break;
    case MATRIX_DEAD:
        matrix_check_said(cell, dead, NULL);
        break;
    case MATRIX_DEAD_LATER:
        /* what cannot be loaded is what comes next */
        matrix_check_said(cell, "dev0: lost: $reason\n", "*load*");
        break;
    }
}

void matrix_run_load(MatrixCell *cell)
{
    const MatrixRow *row = cell->row;
    g_autofree char *properties = NULL;
    MatrixEffect effect = matrix_effect(cell);

    stream(row);
    properties = cell->fault->stalls ?
                 g_strdup_printf(",%s=%d", row->deadline, MATRIX_TIMEOUT_MS) :
                 g_strdup("");
    cell->plugged = true;
    cell->vm = start_vm(row, "destination", properties, "-incoming defer");
    row->act(cell);
    check_status(cell, effect);
    check_load_said(cell, effect);
    if (effect == MATRIX_NOTHING &&
        !mock_loaded_is_good(cell->vm->mock, NULL)) {
        matrix_wrong(cell, "the device data has not come over");
    }
    matrix_check_silence(cell);
    vfio_user_test_vm_free(g_steal_pointer(&cell->vm));
}
