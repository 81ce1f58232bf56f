/*
 * The fault matrix: one cell from the plug to the unplug, and the count of all.
 * A cell that does not hold says so by its name, and the next one runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "matrix.h"
#include "libqos/pci-pc.h"
#include "qapi/qmp/qdict.h"

#define LOST "dev0: lost: $reason\n"

static struct {
    unsigned cells;
    unsigned hold;
    unsigned absent;
} counted;

/* --- the fault --- */

void matrix_arm(MatrixCell *cell)
{
    const MatrixReply *reply = cell->row->reply;
    MockRule rule = cell->fault->rule;

    rule.where = cell->row->where;
    rule.nth = cell->row->nth ?: 1;
    switch (rule.action) {
    case MOCK_ACTION_CUT:
        rule.bytes = rule.bytes ?: 16 + reply->size - 1;
        break;
    case MOCK_ACTION_TRUNCATE:
        rule.bytes = reply->size - 1;
        break;
    case MOCK_ACTION_EXTEND:
        rule.bytes = reply->limit + 1;
        break;
    case MOCK_ACTION_WRONG_COMMAND:
        rule.reply_command = matrix_other_command(rule.where.command);
        break;
    case MOCK_ACTION_MANGLE:
        if (cell->fault->need == MATRIX_NEEDS_COUNT) {
            rule.offset = reply->count_at;
        } else {
            rule.offset = reply->argsz_at;
            rule.xor = reply->argsz_xor;
        }
        break;
    default:
        break;
    }
    cell->from = mock_journal_length(cell->vm->mock);
    mock_add_rules(cell->vm->mock, &rule, 1);
    if (cell->row->also) {
        mock_add_rules(cell->vm->mock, cell->row->also, 1);
    }
}

/* May the command have been sent before there was a reply? */
static bool may_be_under_way(const MatrixRow *row, uint16_t command)
{
    if (row->overlaps && (command == MOCK_REGION_READ ||
                       command == MOCK_DIRTY_PAGES)) {
        return true;
    }
    return row->in_one_go && (command == row->where.command ||
                              command == MOCK_DMA_MAP ||
                              command == MOCK_DMA_UNMAP ||
                              command == MOCK_DEVICE_GET_REGION_INFO ||
                              command == MOCK_DEVICE_GET_IRQ_INFO);
}

/* Once the connection is dead, nothing more is sent on it. */
void matrix_check_silence(MatrixCell *cell)
{
    const MatrixRow *row = cell->row;
    MockEntry entry;
    int at = mock_journal_wait(cell->vm->mock, cell->from, &row->where,
                               row->nth ?: 1, 0);

    if (at < 0) {
        matrix_wrong(cell, "the command was not sent");
        return;
    }
    if (matrix_effect(cell) != MATRIX_DEAD) {
        return;
    }
    while (mock_journal_get(cell->vm->mock, ++at, &entry)) {
        if (entry.direction == MOCK_C2S && entry.type == MOCK_TYPE_COMMAND &&
            !may_be_under_way(row, entry.command)) {
            matrix_wrong(cell, "%s was sent on a dead connection",
                         mock_command_name(entry.command));
            return;
        }
    }
}

/* --- the device --- */

static char *device_add(MatrixCell *cell)
{
    QDict *arguments = qdict_new(), *answer;
    char *error = NULL;

    qdict_put_str(arguments, "driver", "vfio-user-pci");
    qdict_put_str(arguments, "id", "dev0");
    qdict_put_str(arguments, "bus", "pci.0");
    qdict_put_str(arguments, "addr",
                  stringify(VFIO_USER_TEST_DEVICE_SLOT) ".0");
    qdict_put_str(arguments, "socket", cell->vm->socket_path);
    qdict_put_bool(arguments, "x-no-posted-writes", true);
    if (cell->fault->stalls) {
        qdict_put_int(arguments, cell->row->deadline, MATRIX_TIMEOUT_MS);
    }
    answer = qtest_qmp(cell->vm->qts, "{'execute': 'device_add',"
                       " 'arguments': %p}", arguments);
    if (qdict_haskey(answer, "error")) {
        error = g_strdup(qdict_get_str(qdict_get_qdict(answer, "error"),
                                       "desc"));
    }
    qobject_unref(answer);
    return error;
}

static void device_del(MatrixCell *cell)
{
    qpci_unplug_acpi_device_test(cell->vm->qts, "dev0",
                                 VFIO_USER_TEST_DEVICE_SLOT);
}

/* Until there are no more than at first, which a migration's end comes with */
static void check_threads(MatrixCell *cell)
{
    unsigned most = cell->bench->threads, threads;
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;

    do {
        threads = vfio_user_test_count_threads(cell->vm->pid);
        vfio_user_test_settle(cell->vm);
    } while (threads > most && g_get_monotonic_time() < deadline);
    if (threads > most) {
        matrix_wrong(cell, "%u threads, expected %u", threads, most);
    }
}

/* Nothing of the device is left, once it is gone. */
static void check_left(MatrixCell *cell)
{
    MatrixBench *bench = cell->bench;

    if (!mock_wait_connected(cell->vm->mock, false,
                             VFIO_USER_TEST_DEADLINE_MS)) {
        matrix_wrong(cell, "the connection is still there");
    }
    if (!vfio_user_test_wait_fds(cell->vm, bench->fds)) {
        matrix_wrong(cell, "%u fds, expected %u",
                     vfio_user_test_count_fds(cell->vm->pid), bench->fds);
    }
    check_threads(cell);
}

/* --- what has become of it --- */

static bool runs(MatrixCell *cell)
{
    QDict *answer = qtest_qmp(cell->vm->qts, "{'execute': 'query-status'}");
    bool running = qdict_get_bool(qdict_get_qdict(answer, "return"),
                                  "running");

    qobject_unref(answer);
    return running;
}

static void check_alive(MatrixCell *cell)
{
    MatrixEffect effect = matrix_effect(cell);
    bool dead = effect == MATRIX_DEAD || effect == MATRIX_DEAD_LATER;
    uint32_t expected = dead ? UINT32_MAX : MOCK_BAR0_ID_VALUE, id;
    const char *error = NULL;
    QDict *answer;

    if (!runs(cell)) {
        matrix_wrong(cell, "the guest does not run");
    }
    if (!cell->plugged) {
        return;
    }
    mock_clear_rules(cell->vm->mock);
    if (!mock_wait_connected(cell->vm->mock, !dead,
                             VFIO_USER_TEST_DEADLINE_MS)) {
        matrix_wrong(cell, "the connection is %s", dead ? "READY" : "DEAD");
    }
    matrix_enable(cell);
    id = matrix_read_id(cell);
    if (id != expected) {
        matrix_wrong(cell, "the guest reads 0x%x, expected 0x%x", id,
                     expected);
    }
    if (!dead) {
        return;
    }
    /* one that has failed is not over, and would let the next one begin */
    check_threads(cell);
    answer = qtest_qmp(cell->vm->qts, "{'execute': 'migrate',"
                       " 'arguments': {'uri': 'exec:cat'}}");
    if (qdict_haskey(answer, "error")) {
        error = qdict_get_str(qdict_get_qdict(answer, "error"), "desc");
    }
    matrix_check_text(cell, "migrate", "dev0: $reason", error);
    qobject_unref(answer);
}

/* The end may come before the command has ended, or after that. */
static void check_later(MatrixCell *cell)
{
    bool migrates = cell->row->phase == MATRIX_PRECOPY ||
                    cell->row->phase == MATRIX_STOP_COPY;

    if (!cell->plugged) {
        /* of whichever command comes next */
        matrix_check_text(cell, "QMP", cell->row->ends ?: "*$reason",
                          cell->qmp);
        matrix_check_said(cell, cell->row->ends_said ?: "", NULL);
    } else {
        if (cell->qmp && !migrates) {
            matrix_wrong(cell, "QMP: \"%s\"", cell->qmp);
        }
        matrix_check_said(cell, LOST, migrates ? "dev0: *" : NULL);
    }
}

/*
 * Is it this that the migration fails for, whatever was first to tell? Where
 * requests overlap, that is any of them.
 */
static bool tells_of_end(MatrixCell *cell)
{
    static const char *const patterns[] = {
        "dev0: $reason",
        "dev0: dirty log of memory at 0x*, size 0x*: $reason",
        "dev0: *: read failed: Transport endpoint is not connected",
        "dev0: device_state: cannot be set to *: Transport endpoint is not "
        "connected",
    };
    size_t i, end = cell->row->overlaps ? G_N_ELEMENTS(patterns) : 1;

    for (i = 0; i < end; i++) {
        if (matrix_matches(cell, patterns[i], cell->qmp ?: "")) {
            return true;
        }
    }
    return false;
}

static void check_dead(MatrixCell *cell)
{
    const MatrixRow *row = cell->row;
    g_autofree char *said = g_strconcat(LOST, row->dead_said, NULL);
    bool migrates = row->phase == MATRIX_PRECOPY ||
                    row->phase == MATRIX_STOP_COPY;

    if (!migrates || !row->dead || !tells_of_end(cell)) {
        matrix_check_text(cell, "QMP", row->dead, cell->qmp);
    }
    matrix_check_said(cell, cell->plugged ? said : row->dead_said ?: "", NULL);
}

static void check_cell(MatrixCell *cell)
{
    const MatrixRow *row = cell->row;

    switch (matrix_effect(cell)) {
    case MATRIX_NOTHING:
        matrix_check_text(cell, "QMP", row->ends, cell->qmp);
        matrix_check_said(cell, row->ends_said ?: "", NULL);
        break;
    case MATRIX_REFUSED:
        matrix_check_text(cell, "QMP", row->refused, cell->qmp);
        matrix_check_said(cell, row->refused_said ?: "", NULL);
        break;
    case MATRIX_DEAD:
        check_dead(cell);
        break;
    case MATRIX_DEAD_LATER:
        check_later(cell);
        break;
    }
    check_alive(cell);
    matrix_check_silence(cell);
}

static void run_plugged(MatrixCell *cell)
{
    bool realize = cell->row->phase == MATRIX_REALIZE;

    if (realize) {
        matrix_arm(cell);
    }
    cell->qmp = device_add(cell);
    cell->plugged = !cell->qmp;
    if (!realize && !cell->plugged) {
        matrix_wrong(cell, "cannot be plugged: %s", cell->qmp);
        return;
    }
    if (!realize) {
        matrix_enable(cell);
        cell->row->act(cell);
    }
    check_cell(cell);
    /* it does not go on with a QEMU that is not as it should be */
    if (!cell->wrong->len) {
        if (cell->plugged) {
            device_del(cell);
        }
        check_left(cell);
    }
}

/* --- a row --- */

static const char *why_absent(const MatrixRow *row, const MatrixFault *fault)
{
    const MatrixReply *reply = row->reply;

    switch (fault->need) {
    case MATRIX_NEEDS_PAYLOAD:
    case MATRIX_NEEDS_SIZE:
        return reply->size ? NULL : "the reply has no payload";
    case MATRIX_NEEDS_COUNT:
        return reply->count_at ? NULL : "the reply has no count";
    case MATRIX_NEEDS_ARGSZ:
        return reply->argsz_at ? NULL : "the reply has no argsz";
    case MATRIX_NEEDS_FDS:
        return reply->fds ? NULL : "the reply has no fds";
    default:
        return NULL;
    }
}

static void run_cell(MatrixCell *cell)
{
    g_autofree char *said = vfio_user_test_errors(cell->vm);

    vfio_user_test_prolong();
    cell->said_before = strlen(said);
    run_plugged(cell);
    mock_clear_rules(cell->vm->mock);
}

/* A device that came and went leaves what the first one always leaves. */
static void bench_measure(MatrixBench *bench, const MatrixRow *row)
{
    static const MatrixFault none = { .name = "none" };
    MatrixCell cell = { .row = row, .fault = &none,
                        .bench = bench, .vm = bench->vm };

    g_assert_null(device_add(&cell));
    device_del(&cell);
    vfio_user_test_settle(bench->vm);
    g_assert_true(mock_wait_connected(bench->vm->mock, false,
                                      VFIO_USER_TEST_DEADLINE_MS));
    bench->fds = vfio_user_test_count_fds(bench->vm->pid);
    bench->threads = vfio_user_test_count_threads(bench->vm->pid);
}

static MatrixBench *bench_new(const MatrixRow *row)
{
    MatrixBench *bench = g_new0(MatrixBench, 1);
    MockConfig mock;
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = "pc", .no_device = true, .mock = &mock,
        .keep_errors = true, .ram_size = 16 * 1024 * 1024,
    };

    matrix_mock_config(row, &mock);
    bench->vm = vfio_user_test_vm_new(&config);
    bench->bus = qpci_new_pc(bench->vm->qts, NULL);
    bench_measure(bench, row);
    return bench;
}

static void bench_free(MatrixBench *bench)
{
    qpci_free_pc(bench->bus);
    vfio_user_test_vm_free(bench->vm);
    g_free(bench);
}

/* When the test ends here, in the middle of it */
static void tell_cell(void *opaque)
{
    MatrixCell *cell = opaque;

    fprintf(stderr, "--- in cell %s/%s/%s%s\n",
            matrix_phases[cell->row->phase], cell->row->name,
            cell->fault->name, cell->wrong->str);
}

/* Returns whether the cell holds. */
static bool run_one(MatrixBench *bench, const MatrixRow *row,
                    const MatrixFault *fault)
{
    g_autoptr(GString) wrong = g_string_new("");
    MatrixCell cell = { .row = row, .fault = fault, .bench = bench,
                        .vm = bench ? bench->vm : NULL, .wrong = wrong };

    qtest_add_abrt_handler(tell_cell, &cell);
    if (bench) {
        run_cell(&cell);
    } else {
        matrix_run_load(&cell);
    }
    qtest_remove_abrt_handler(&cell);
    counted.cells++;
    counted.hold += !wrong->len;
    if (wrong->len) {
        printf("# does not hold: %s/%s/%s%s\n", matrix_phases[row->phase],
               row->name, fault->name, wrong->str);
        fflush(stdout);
    }
    g_free(cell.qmp);
    return !wrong->len;
}

static void test_row(const void *data)
{
    const MatrixRow *row = data;
    MatrixBench *bench = NULL;
    unsigned cells = counted.cells, hold = counted.hold;
    size_t i;

    if (row->phase != MATRIX_RESUMING) {
        bench = bench_new(row);
    }
    for (i = 0; i < matrix_num_faults; i++) {
        const char *why = why_absent(row, &matrix_faults[i]);

        if (why) {
            g_test_message("cannot occur: %s/%s/%s: %s",
                           matrix_phases[row->phase], row->name,
                           matrix_faults[i].name, why);
            counted.absent++;
        } else if (!run_one(bench, row, &matrix_faults[i]) && bench) {
            bench_free(bench);
            bench = bench_new(row);
        }
    }
    if (bench) {
        bench_free(bench);
    }
    if (counted.hold - hold != counted.cells - cells) {
        g_test_fail();
    }
}

static const char *find_absence(uint16_t command, MatrixPhase phase)
{
    size_t i;

    for (i = 0; i < matrix_num_absences; i++) {
        const MatrixAbsence *absence = &matrix_absences[i];

        if (absence->command == command && (absence->phases & 1u << phase)) {
            return absence->why;
        }
    }
    return NULL;
}

static bool has_row(uint16_t command, MatrixPhase phase)
{
    size_t i;

    for (i = 0; i < matrix_num_rows; i++) {
        if (matrix_rows[i].where.command == command &&
            matrix_rows[i].phase == phase) {
            return true;
        }
    }
    return false;
}

/* Every command in every phase has a row, or a reason why it has none. */
static void test_complete(const void *data)
{
    static const uint16_t commands[] = {
        MOCK_VERSION, MOCK_DMA_MAP, MOCK_DMA_UNMAP, MOCK_DEVICE_GET_INFO,
        MOCK_DEVICE_GET_REGION_INFO, MOCK_DEVICE_GET_IRQ_INFO,
        MOCK_DEVICE_SET_IRQS, MOCK_REGION_READ, MOCK_REGION_WRITE,
        MOCK_DEVICE_RESET, MOCK_DIRTY_PAGES,
    };
    MatrixPhase phase;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        for (phase = 0; phase < MATRIX_NUM_PHASES; phase++) {
            const char *why = find_absence(commands[i], phase);

            if (why) {
                g_test_message("cannot occur: %s/%s: %s", matrix_phases[phase],
                               mock_command_name(commands[i]), why);
                counted.absent += matrix_num_faults;
            }
            if (!why != has_row(commands[i], phase)) {
                vfio_user_test_fail("%s/%s has %s", matrix_phases[phase],
                                    mock_command_name(commands[i]), why ?
                                    "rows and a reason to have none" :
                                    "neither rows nor a reason");
            }
        }
    }
}

void matrix_add(void)
{
    size_t i;

    vfio_user_test_add("/vfio-user/matrix/complete", test_complete, NULL);
    for (i = 0; i < matrix_num_rows; i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/matrix/%s/%s",
            matrix_phases[matrix_rows[i].phase], matrix_rows[i].name);

        vfio_user_test_add(path, test_row, &matrix_rows[i]);
    }
}

void matrix_report(void)
{
    matrix_load_end();
    printf("# matrix: %u cells, %u hold; %u cannot occur\n", counted.cells,
           counted.hold, counted.absent);
}
