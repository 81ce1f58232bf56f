/*
 * Destinations whose device is not the source's: they refuse, with a line that
 * says what differs, while the source's guest runs, and it migrates to another.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hostile.h"
#include "steps.h"

#define KIB 1024

/* What a server has, or a destination, that the other one has not */
typedef struct IdentityTest {
    const char *path;
    void (*change)(MockConfig *mock);
    const char *device;         /* properties at the destination */
    const char *error;          /* behind "dev0: "; NULL: it is the same */
} IdentityTest;

static void other_id(MockConfig *mock)
{
    mock->pci_device_id = 0x1234;
}

static void larger_bar0(MockConfig *mock)
{
    mock->bar0_size = 0x2000;
}

static void larger_bar2(MockConfig *mock)
{
    mock->bar2_size = 0x8000;
}

static void no_bar2(MockConfig *mock)
{
    mock->bar2_size = 0;
}

static void more_regions(MockConfig *mock)
{
    mock->num_regions = MOCK_NUM_REGIONS + 1;
}

static void fewer_vectors(MockConfig *mock)
{
    mock->num_msix_vectors = MOCK_MSIX_VECTORS / 2;
}

static void no_msix(MockConfig *mock)
{
    mock->no_msix = true;
}

static void larger_config(MockConfig *mock)
{
    mock->config_size = 4096;
}

static void with_msi(MockConfig *mock)
{
    mock->msi = true;
}

/* Not seen by the guest: what does not fit at once goes in parts. */
static void small_window(MockConfig *mock)
{
    mock->window_size = mock->chunk_size = 20 * KIB;
}

static void large_window(MockConfig *mock)
{
    mock->window_size = 2048 * KIB;
}

/* Nor is how BARs are reached. */
static void mapped_bar2(MockConfig *mock)
{
    mock->bar2_areas = 2;
}

static const IdentityTest identity_tests[] = {
    { "device-id/server", other_id,
      .error = "device ID is 0x1234, and 0x7fe5 at the source" },
    { "device-id/property", NULL, "x-pci-device-id=0x1234",
      "device ID is 0x1234, and 0x7fe5 at the source" },
    { "class/property", NULL, "x-pci-class-code=0x020000",
      "class and revision is 0x2000001, and 0xff0001 at the source" },
    { "bar-size/memory", larger_bar2,
      .error = "size of BAR 2 is 0x8000, and 0x4000 at the source" },
    { "bar-size/registers", larger_bar0,
      .error = "size of BAR 0 is 0x2000, and 0x1000 at the source" },
    { "bar-missing", no_bar2,
      .error = "size of BAR 2 is 0x0, and 0x4000 at the source" },
    { "regions", more_regions,
      .error = "number of regions is 0xb, and 0xa at the source" },
    { "msix-vectors", fewer_vectors,
      .error = "number of MSI-X vectors is 0x2, and 0x4 at the source" },
    { "msix-missing", no_msix,
      .error = "size of BAR 4 is 0x0, and 0x1000 at the source" },
    { "config-size", larger_config,
      .error = "size of config space is 0x1000, and 0x100 at the source" },
    { "capabilities", with_msi, .error = "list of capabilities is 0x" },
    { "same/all", NULL },
    { "same/id-by-property", other_id, "x-pci-device-id=0x7fe5" },
    { "same/window-smaller", small_window },
    { "same/window-larger", large_window },
    { "same/bar-mapped", mapped_bar2 },
};

static void identity_mock(MockConfig *mock)
{
    migration_slow_device(mock);
    mock->bar2_size = 0x4000;
}

static VFIOUserTestVM *start_destination(const IdentityTest *test)
{
    VFIOUserTestVMConfig config = {
        .name = "destination", .incoming = true, .keep_errors = true,
    };
    MockConfig mock;

    identity_mock(&mock);
    mock.seed = 2;
    if (test) {
        config.device = test->device;
        if (test->change) {
            test->change(&mock);
        }
    }
    config.mock = &mock;
    return vfio_user_test_vm_new(&config);
}

/* The device takes long to save: whoever refuses late does so in pre-copy. */
static void assert_refused(const IdentityTest *test, Migration *migration)
{
    VFIOUserTestVM *source = migration->source->vm;
    g_autofree char *error = g_strdup_printf("dev0: not the source's device: "
                                             "%s", test->error);
    g_autofree char *errors = NULL;

    migration_run(migration, 1024 * KIB);
    g_free(migration_wait(source, "failed"));
    vfio_user_test_assert_status(source, "running");
    g_assert_cmphex(guest_readl(migration->source, MOCK_BAR0_ID), ==,
                    MOCK_BAR0_ID_VALUE);
    errors = vfio_user_test_errors(migration->destination);
    g_test_message("%s", errors);
    if (!strstr(errors, error)) {
        vfio_user_test_fail("not \"%s\": %s", error, errors);
    }
    vfio_user_test_vm_wait_exit(migration->destination, 1);
    vfio_user_test_vm_free(migration->destination);
    migration->destination = start_destination(NULL);
}

static void test_identity(const void *data)
{
    const IdentityTest *test = data;
    VFIOUserTestVMConfig config = { .name = "source" };
    Migration migration;
    MockConfig mock;

    identity_mock(&mock);
    config.mock = &mock;
    migration.source = guest_start_vm(&config);
    migration.destination = start_destination(test);
    if (test->error) {
        assert_refused(test, &migration);
    }
    vfio_user_test_migrate_to(migration.source->vm, migration.destination);
    vfio_user_test_assert_moved(migration.source->vm->mock,
                                migration.destination->mock);
    migration_end(&migration);
}

void vfio_user_test_add_identity(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(identity_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/identity/%s",
                                                identity_tests[i].path);

        vfio_user_test_add(path, test_identity, &identity_tests[i]);
    }
}
