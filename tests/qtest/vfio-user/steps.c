/*
 * Migrations that the vfio-user qtests take step by step.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "steps.h"
#include "qapi/qmp/qdict.h"

#define MIB (1024 * 1024)
#define PAGE 0x1000
#define DMA_MAP_WRITE 2

void migration_start_vms(Migration *migration,
                         const VFIOUserTestVMConfig *config)
{
    VFIOUserTestVMConfig end = *config;
    MockConfig defaults;

    mock_config_init(&defaults);
    end.name = "source";
    migration->source = guest_start_vm(&end);
    end.name = "destination";
    end.mock = &defaults;
    end.incoming = true;
    migration->destination = vfio_user_test_vm_new(&end);
}

void migration_start(Migration *migration, const MockConfig *mock,
                     const char *device)
{
    VFIOUserTestVMConfig config = { .device = device, .mock = mock };

    migration_start_vms(migration, &config);
}

void migration_end_failed(Migration *migration)
{
    vfio_user_test_assert_status(migration->source->vm, "running");
    vfio_user_test_vm_wait_exit(migration->destination, 1);
    vfio_user_test_vm_free(migration->destination);
    guest_stop(migration->source);
}

void migration_end(Migration *migration)
{
    vfio_user_test_vm_free(migration->destination);
    guest_stop(migration->source);
}

void migration_run(Migration *migration, uint64_t bandwidth)
{
    VFIOUserTestVM *vm = migration->source->vm;
    g_autofree char *uri = NULL;

    uri = g_strdup_printf("unix:%s", migration->destination->migration_path);
    vfio_user_test_qmp(vm, "{'execute': 'migrate-set-parameters', 'arguments':"
                       " {'max-bandwidth': %" PRIu64 "}}", bandwidth);
    vfio_user_test_qmp(vm, "{'execute': 'migrate', 'arguments': {'uri': %s}}",
                       uri);
}

char *migration_wait(VFIOUserTestVM *vm, const char *status)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
    g_autofree char *seen = NULL, *desc = NULL;

    do {
        QDict *answer = qtest_qmp(vm->qts, "{'execute': 'query-migrate'}");
        QDict *info = qdict_get_qdict(answer, "return");

        g_free(seen);
        g_free(desc);
        seen = g_strdup(qdict_get_try_str(info, "status"));
        desc = g_strdup(qdict_get_try_str(info, "error-desc"));
        qobject_unref(answer);
    } while (g_strcmp0(seen, status) && g_strcmp0(seen, "failed") &&
             g_strcmp0(seen, "completed") &&
             g_get_monotonic_time() < deadline);
    g_test_message("%s: migration: %s, %s", vm->name, seen, desc ?: "-");
    g_assert_cmpstr(seen, ==, status);
    return g_steal_pointer(&desc);
}

void migration_device_writes(Migration *migration, uint64_t iova,
                             uint8_t pattern)
{
    uint8_t page[PAGE];

    memset(page, pattern, sizeof(page));
    g_assert_cmpint(mock_dma_write(migration->source->vm->mock, iova, page,
                                   sizeof(page)), ==, 0);
}

void migration_assert_arrived(Migration *migration, uint64_t address,
                              uint8_t pattern)
{
    VFIOUserTestVM *vm = migration->destination;
    QTestState *qts = vm->qts;

    g_free(migration_wait(vm, "completed"));
    g_assert_cmphex(qtest_readb(qts, address), ==, pattern);
    g_assert_cmphex(qtest_readb(qts, address + PAGE - 1), ==, pattern);
}

void migration_run_slowly(Migration *migration)
{
    static const MockPattern data_size =
        MOCK_PATTERN_REGION(MOCK_REGION_READ, MOCK_REGION_MIGRATION,
                            MOCK_MIG_DATA_SIZE);
    Mock *mock = migration->source->vm->mock;

    migration_run(migration, 1 * MIB);
    g_assert_cmpint(mock_journal_wait(mock, 0, &data_size, 2,
                                      VFIO_USER_TEST_DEADLINE_MS), >=, 0);
}

void migration_slow_device(MockConfig *mock)
{
    mock_config_init(mock);
    mock->precopy_rounds = 40;
    mock->precopy_round_size = 64 * 1024;
    mock->precopy_pending = 1ull << 40;
    mock->migration_size = mock->precopy_rounds * mock->precopy_round_size +
                           64 * 1024;
}

void migration_finish(Migration *migration)
{
    VFIOUserTestVM *vm = migration->source->vm;

    vfio_user_test_qmp(vm, "{'execute': 'migrate-set-parameters', 'arguments':"
                       " {'max-bandwidth': 1073741824}}");
    g_free(migration_wait(vm, "completed"));
}

/* Of each address that is mapped, the size, and whether it was asked for */
typedef struct Logged {
    uint64_t size;
    bool can_write;
    bool asked;
} Logged;

static void follow_mapping(GHashTable *mappings, const MockEntry *entry)
{
    Logged *logged;

    if (entry->command == MOCK_DMA_UNMAP) {
        g_hash_table_remove(mappings, &entry->offset);
    } else if (entry->command == MOCK_DMA_MAP) {
        logged = g_new0(Logged, 1);
        logged->size = entry->count;
        logged->can_write = entry->value & DMA_MAP_WRITE && entry->fds;
        g_hash_table_replace(mappings,
                             g_memdup2(&entry->offset, sizeof(uint64_t)),
                             logged);
    } else if (entry->command == MOCK_DIRTY_PAGES && entry->has_offset) {
        logged = g_hash_table_lookup(mappings, &entry->offset);
        g_assert_nonnull(logged);
        g_assert_cmphex(entry->count, ==, logged->size);
        g_assert_true(logged->can_write);
        logged->asked = true;
    }
}

void migration_assert_queries(Migration *migration)
{
    g_autoptr(GHashTable) mappings = NULL;
    GHashTableIter iter;
    MockEntry entry;
    gpointer value;
    unsigned i;

    mappings = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                     g_free);
    for (i = 0; mock_journal_get(migration->source->vm->mock, i, &entry);
         i++) {
        if (entry.direction == MOCK_C2S && entry.type == MOCK_TYPE_COMMAND) {
            follow_mapping(mappings, &entry);
        }
    }
    g_hash_table_iter_init(&iter, mappings);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        g_assert_cmpint(((Logged *)value)->asked, ==,
                        ((Logged *)value)->can_write);
    }
}
