/*
 * What a guest and its devices do while it is migrated at random, and what must
 * have come of it wherever it is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "soak.h"
#include "libqos/pci.h"
#include "libqos/pci-pc.h"
#include "standard-headers/linux/pci_regs.h"

#define AREA(area) (0x00400000 + (uint64_t)(area) * 0x00100000)
#define GUEST_AREA SOAK_DEVICES

/* Where a firmware would put BAR0 */
#define BAR0(device) (0xe0000000ull + (device) * 0x10000ull)

#define SLOT(device) (VFIO_USER_TEST_DEVICE_SLOT + (device))

#define MOST_BYTES (3 * 4096)

bool soak_enable(SoakEnd *end, unsigned device)
{
    QPCIBus *bus = qpci_new_pc(end->vm->qts, NULL);
    QPCIDevice *function = qpci_device_find(bus, QPCI_DEVFN(SLOT(device), 0));
    bool found = function;

    if (found) {
        qpci_config_writel(function, PCI_BASE_ADDRESS_0, BAR0(device));
        qpci_config_writew(function, PCI_COMMAND,
                           PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    }
    g_free(function);
    qpci_free_pc(bus);
    return found;
}

uint64_t soak_register(unsigned device, unsigned offset)
{
    return BAR0(device) + offset;
}

/* --- accesses --- */

/* A random part of an area: what it is to hold from now on, and where it is */
static uint8_t *choose_bytes(Soak *soak, unsigned area, uint64_t *address,
                             size_t *size)
{
    size_t offset = soak_random(soak, SOAK_AREA_SIZE);

    *size = 1 + soak_random(soak, MIN(MOST_BYTES, SOAK_AREA_SIZE - offset));
    *address = AREA(area) + offset;
    return soak->model.areas[area] + offset;
}

static void fill_random(Soak *soak, uint8_t *bytes, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++) {
        bytes[i] = g_rand_int(soak->rand);
    }
}

static void device_writes(Soak *soak, unsigned device)
{
    Mock *mock = soak_server(soak->here, device);
    int error = -ENODEV;
    uint64_t address;
    uint8_t *bytes;
    size_t size;

    bytes = choose_bytes(soak, device, &address, &size);
    fill_random(soak, bytes, size);
    if (soak_random(soak, 2)) {
        error = mock_dma_write(mock, address, bytes, size);
    }
    if (error == -ENODEV) {
        error = mock_dma_write_by_message(mock, address, bytes, size,
                                          VFIO_USER_TEST_DEADLINE_MS);
    }
    g_assert_cmpint(error, ==, 0);
}

static void guest_writes(Soak *soak, unsigned device)
{
    uint64_t address;
    uint8_t *bytes;
    size_t size;

    bytes = choose_bytes(soak, GUEST_AREA, &address, &size);
    fill_random(soak, bytes, size);
    qtest_bufwrite(soak->here->vm->qts, address, bytes, size);
}

/* The guest has the device fill memory. */
static void guest_dma(Soak *soak, unsigned device)
{
    QTestState *qts = soak->here->vm->qts;
    uint8_t pattern = soak_random(soak, 256);
    uint32_t how = soak_random(soak, 2) * MOCK_DMA_BY_MESSAGE;
    uint64_t address;
    uint8_t *bytes;
    size_t size;

    bytes = choose_bytes(soak, device, &address, &size);
    memset(bytes, pattern, size);
    qtest_writeq(qts, BAR0(device) + MOCK_BAR0_DMA_ADDR, address);
    qtest_writel(qts, BAR0(device) + MOCK_BAR0_DMA_LENGTH, size);
    qtest_writel(qts, BAR0(device) + MOCK_BAR0_DMA_PATTERN, pattern);
    qtest_writel(qts, BAR0(device) + MOCK_BAR0_DMA_DOORBELL,
                 MOCK_DMA_FILL | how);
    g_assert_cmphex(qtest_readl(qts, BAR0(device) + MOCK_BAR0_DMA_STATUS), ==,
                    0);
}

static uint64_t scratch_register(unsigned device, unsigned i)
{
    return BAR0(device) + MOCK_BAR0_SCRATCH + 8 * i;
}

static void write_register(Soak *soak, unsigned device)
{
    unsigned i = soak_random(soak, MOCK_NUM_SCRATCH);
    uint64_t value = (uint64_t)g_rand_int(soak->rand) << 32 | device;

    soak->model.scratch[device][i] = value;
    qtest_writeq(soak->here->vm->qts, scratch_register(device, i), value);
}

static void read_register(Soak *soak, unsigned device)
{
    unsigned i = soak_random(soak, MOCK_NUM_SCRATCH);

    g_assert_cmphex(qtest_readq(soak->here->vm->qts,
                                scratch_register(device, i)), ==,
                    soak->model.scratch[device][i]);
}

void soak_live(Soak *soak)
{
    static void (*const accesses[])(Soak *soak, unsigned device) = {
        device_writes, guest_writes, guest_dma, write_register, read_register,
    };
    /* those in this process are what the model is about */
    unsigned devices = soak->processes ? 1 : SOAK_DEVICES;
    unsigned count = 4 + soak_random(soak, 12);

    while (count--) {
        unsigned i = soak_random(soak, G_N_ELEMENTS(accesses));

        accesses[i](soak, soak_random(soak, devices));
    }
}

/* --- larger events --- */

void soak_reset(Soak *soak)
{
    VFIOUserTestVM *vm = soak->here->vm;

    vfio_user_test_qmp(vm, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(vm->qts, "RESET");
    vfio_user_test_settle(vm);
    memset(soak->model.scratch, 0, sizeof(soak->model.scratch));
}

void soak_boot(Soak *soak)
{
    unsigned device;

    for (device = 0; device < SOAK_DEVICES; device++) {
        g_assert_true(soak_enable(soak->here, device));
    }
}

void soak_unplug(SoakEnd *end, unsigned device)
{
    g_autofree char *id = g_strdup_printf("dev%u", device);

    qpci_unplug_acpi_device_test(end->vm->qts, id, SLOT(device));
}

QDict *soak_plug(Soak *soak, unsigned device)
{
    SoakEnd *end = soak->here;
    g_autofree char *id = g_strdup_printf("dev%u", device);
    g_autofree char *address = g_strdup_printf("%u.0", SLOT(device));

    soak_choose_reconnect(soak, end, device);
    return qtest_qmp(end->vm->qts, "{'execute': 'device_add', 'arguments': {"
                     "'driver': 'vfio-user-pci', 'id': %s, 'bus': 'pci.0',"
                     "'addr': %s, 'socket': %s, 'secure-dma': %i,"
                     "'reconnect': %d}}", id, address,
                     device ? end->second_path : end->vm->socket_path,
                     device == 1, end->reconnects[device]);
}

void soak_wait_event(SoakEnd *end, unsigned device, const char *name)
{
    g_autofree char *id = g_strdup_printf("dev%u", device);
    QDict *event = qtest_qmp_eventwait_ref(end->vm->qts, name);

    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(event, "data"), "device-id"),
                    ==, id);
    qobject_unref(event);
}

static void replug(Soak *soak, unsigned device)
{
    QDict *answer;

    soak_unplug(soak->here, device);
    soak_start_server(soak, soak->here, device);
    answer = soak_plug(soak, device);
    g_assert_true(qdict_haskey(answer, "return"));
    qobject_unref(answer);
}

/* A device that QEMU tries to take again can be unplugged meanwhile, too. */
void soak_replace(Soak *soak, unsigned device)
{
    if (soak->here->reconnects[device] && soak_random(soak, 4)) {
        soak_start_server(soak, soak->here, device);
        soak_wait_event(soak->here, device, "VFIO_USER_RECONNECTED");
        soak->returned++;
    } else {
        replug(soak, device);
    }
    g_assert_true(soak_enable(soak->here, device));
    memset(soak->model.scratch[device], 0, sizeof(soak->model.scratch[device]));
}

/* --- what must be --- */

static void assert_area(Soak *soak, SoakEnd *end, unsigned area)
{
    g_autofree uint8_t *bytes = g_malloc(SOAK_AREA_SIZE);
    g_autofree char *expected = NULL, *sum = NULL;
    const uint8_t *model = soak->model.areas[area];
    unsigned i;

    qtest_bufread(end->vm->qts, AREA(area), bytes, SOAK_AREA_SIZE);
    expected = g_compute_checksum_for_data(G_CHECKSUM_SHA256, model,
                                           SOAK_AREA_SIZE);
    sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes,
                                      SOAK_AREA_SIZE);
    if (!g_str_equal(sum, expected)) {
        for (i = 0; bytes[i] == model[i]; i++) {
            continue;
        }
        vfio_user_test_fail("%s: number %u, seed %u: memory that %s wrote is "
                            "wrong: at 0x%" PRIx64 " is 0x%02x, not 0x%02x",
                            end->name, soak->number, soak->seed,
                            area == GUEST_AREA ? "the guest" :
                            area ? "dev1" : "dev0", AREA(area) + i, bytes[i],
                            model[i]);
    }
}

void soak_assert_guest(Soak *soak, SoakEnd *end)
{
    unsigned devices = soak->processes ? 1 : SOAK_DEVICES;
    QTestState *qts = end->vm->qts;
    unsigned device, area, i;

    for (device = 0; device < devices; device++) {
        g_assert_cmphex(qtest_readl(qts, BAR0(device) + MOCK_BAR0_ID), ==,
                        MOCK_BAR0_ID_VALUE);
        for (i = 0; i < MOCK_NUM_SCRATCH; i++) {
            g_assert_cmphex(qtest_readq(qts, scratch_register(device, i)), ==,
                            soak->model.scratch[device][i]);
        }
    }
    for (area = 0; area < SOAK_AREAS; area++) {
        if (area < devices || area == GUEST_AREA) {
            assert_area(soak, end, area);
        }
    }
}
