/*
 * The fault matrix: what the guest or its operator does to make QEMU send a
 * command, when the server is to answer it wrongly.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "matrix.h"
#include "qapi/qmp/qdict.h"
#include "standard-headers/linux/pci_regs.h"

#define KIB 1024
#define BAR0 0xe0000000
#define MSIX_CONTROL 0x42       /* as the mock's device has it */
#define AF_CAPABILITY 0x60

/* The host bridge of "pc": PAM1 says what is at 0xc0000 to 0xc7fff */
#define PAM1 0x5a

void matrix_mock_config(const MatrixRow *row, MockConfig *mock)
{
    mock_config_init(mock);
    mock->bar2_size = 0x4000;
    mock->bar2_areas = 2;
    /* where something is to happen meanwhile, it does not end by itself */
    mock->precopy_rounds = row->inner ? 1000 * 1000 : 2;
    mock->precopy_round_size = 16 * KIB;
    mock->precopy_pending = 1ull << 40;
    mock->chunk_size = mock->window_size = 32 * KIB;
    mock->migration_size = mock->precopy_rounds * mock->precopy_round_size +
                           32 * KIB + 256;
}

static QPCIDevice matrix_device(MatrixCell *cell)
{
    return (QPCIDevice) {
        .bus = cell->bench->bus,
        .devfn = QPCI_DEVFN(VFIO_USER_TEST_DEVICE_SLOT, 0),
    };
}

void matrix_enable(MatrixCell *cell)
{
    QPCIDevice device = matrix_device(cell);

    qpci_config_writel(&device, PCI_BASE_ADDRESS_0, BAR0);
    qpci_config_writew(&device, PCI_COMMAND,
                       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

uint32_t matrix_read_id(MatrixCell *cell)
{
    return qtest_readl(cell->vm->qts, BAR0 + MOCK_BAR0_ID);
}

void matrix_act_bar_read(MatrixCell *cell)
{
    matrix_arm(cell);
    matrix_read_id(cell);
}

void matrix_act_bar_write(MatrixCell *cell)
{
    matrix_arm(cell);
    qtest_writel(cell->vm->qts, BAR0 + MOCK_BAR0_SCRATCH, 0xfeedf00d);
}

void matrix_act_config_read(MatrixCell *cell)
{
    QPCIDevice device = matrix_device(cell);

    matrix_arm(cell);
    qpci_config_readl(&device, AF_CAPABILITY);
}

void matrix_act_config_write(MatrixCell *cell)
{
    QPCIDevice device = matrix_device(cell);

    matrix_arm(cell);
    qpci_config_writeb(&device, PCI_CACHE_LINE_SIZE, 0x10);
}

void matrix_act_msix(MatrixCell *cell)
{
    QPCIDevice device = matrix_device(cell);

    matrix_arm(cell);
    qpci_config_writew(&device, MSIX_CONTROL, PCI_MSIX_FLAGS_ENABLE);
}

/* The memory from 0 on gets another size: it is unmapped and mapped anew. */
void matrix_act_memory(MatrixCell *cell)
{
    QPCIDevice bridge = { .bus = cell->bench->bus };

    qpci_config_writeb(&bridge, PAM1, 0);
    matrix_arm(cell);
    qpci_config_writeb(&bridge, PAM1, 0x33);
}

void matrix_act_reset(MatrixCell *cell)
{
    matrix_arm(cell);
    vfio_user_test_qmp(cell->vm, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(cell->vm->qts, "RESET");
    vfio_user_test_settle(cell->vm);
}

void matrix_act_stop(MatrixCell *cell)
{
    matrix_arm(cell);
    vfio_user_test_qmp(cell->vm, "{'execute': 'stop'}");
    vfio_user_test_settle(cell->vm);
    vfio_user_test_qmp(cell->vm, "{'execute': 'cont'}");
    vfio_user_test_settle(cell->vm);
    /* a device that did not run is asked again; else the guest runs already */
    vfio_user_test_qmp(cell->vm, "{'execute': 'cont'}");
    vfio_user_test_settle(cell->vm);
}

/* --- migration --- */

static void migrate(MatrixCell *cell)
{
    vfio_user_test_qmp(cell->vm, "{'execute': 'migrate', 'arguments':"
                       " {'uri': 'exec:cat > /dev/null'}}");
}

static bool is_final(const char *status)
{
    return g_str_equal(status, "completed") || g_str_equal(status, "failed") ||
           g_str_equal(status, "cancelled");
}

/* How it has ended; then the guest goes on here. */
static void end_migration(MatrixCell *cell)
{
    QDict *answer = NULL, *info;
    const char *status;

    do {
        qobject_unref(answer);
        answer = qtest_qmp(cell->vm->qts, "{'execute': 'query-migrate'}");
        info = qdict_get_qdict(answer, "return");
        status = qdict_get_try_str(info, "status") ?: "";
    } while (!is_final(status));
    if (g_str_equal(status, "completed")) {
        vfio_user_test_settle(cell->vm);
        vfio_user_test_qmp(cell->vm, "{'execute': 'cont'}");
    } else {
        cell->qmp = g_strdup(qdict_get_try_str(info, "error-desc") ?: status);
    }
    qobject_unref(answer);
    vfio_user_test_settle(cell->vm);
}

void matrix_act_migrate(MatrixCell *cell)
{
    matrix_arm(cell);
    migrate(cell);
    end_migration(cell);
}

static void hold(MatrixCell *cell, const MockRule *rule)
{
    mock_add_rules(cell->vm->mock, rule, 1);
    migrate(cell);
    if (!mock_wait_held(cell->vm->mock, 1, VFIO_USER_TEST_DEADLINE_MS)) {
        matrix_wrong(cell, "the migration does not get there");
    }
}

/* The rule is for what comes once the device has been told to stop. */
void matrix_act_stop_copy(MatrixCell *cell)
{
    static const MockRule rule = {
        .where = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };

    hold(cell, &rule);
    matrix_arm(cell);
    mock_release(cell->vm->mock);
    end_migration(cell);
}

/* The migration is given up in pre-copy. */
void matrix_act_cancel(MatrixCell *cell)
{
    static const MockRule rule = {
        .where = MOCK_PATTERN_DATA(MOCK_REGION_READ), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };

    hold(cell, &rule);
    matrix_arm(cell);
    vfio_user_test_qmp(cell->vm, "{'execute': 'migrate_cancel'}");
    mock_release(cell->vm->mock);
    end_migration(cell);
}

/* Something happens in pre-copy, which is given up then. */
void matrix_act_in_precopy(MatrixCell *cell)
{
    static const MockPattern data = MOCK_PATTERN_DATA(MOCK_REGION_READ);
    unsigned from = mock_journal_length(cell->vm->mock);

    vfio_user_test_qmp(cell->vm, "{'execute': 'migrate-set-parameters',"
                       " 'arguments': {'max-bandwidth': 1000000}}");
    migrate(cell);
    if (mock_journal_wait(cell->vm->mock, from, &data, 1,
                          VFIO_USER_TEST_DEADLINE_MS) < 0) {
        matrix_wrong(cell, "the migration does not get there");
    }
    cell->row->inner(cell);
    if (matrix_effect(cell) == MATRIX_NOTHING ||
        matrix_effect(cell) == MATRIX_REFUSED) {
        vfio_user_test_qmp(cell->vm, "{'execute': 'migrate_cancel'}");
    }
    end_migration(cell);
}
