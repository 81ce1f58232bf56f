/*
 * The property reconnect: servers that come back, and what a guest sees of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "pci.h"
#include "reach.h"
#include "reconnect.h"
#include "standard-headers/linux/pci_regs.h"

#define MESSAGE 0x00800000
#define PAGE 0x1000

/* q35's host bridge: PAM0 to PAM6 say what is at 0xc0000 to 0xfffff */
#define PAM1 0x91

/* --- what the guest sees --- */

/* Lost three times, with all that is told of it and no more */
static void test_reconnect_registers(const void *data)
{
    g_autoptr(Guest) guest = reconnect_start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    uint32_t bar0 = qpci_config_readl(guest->device, PCI_BASE_ADDRESS_0);
    unsigned i;

    for (i = 1; i <= 3; i++) {
        guest_writel(guest, MOCK_BAR0_SCRATCH, i);
        g_assert_cmphex(guest_readl(guest, MOCK_BAR0_SCRATCH), ==, i);
        reconnect_lose(vm);
        g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, UINT32_MAX);
        vfio_user_test_qmp_error(vm, "dev0: ", "{'execute': 'migrate',"
                                 " 'arguments': {'uri': 'exec:cat'}}");
        reconnect_return(vm, NULL);

        g_assert_cmphex(qpci_config_readw(guest->device, PCI_COMMAND), ==, 0);
        g_assert_cmphex(qpci_config_readl(guest->device, PCI_BASE_ADDRESS_0),
                        ==, bar0);
        guest_enable(guest);
        g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==,
                        MOCK_BAR0_ID_VALUE);
        g_assert_cmphex(guest_readl(guest, MOCK_BAR0_SCRATCH), ==, 0);
        vfio_user_test_assert_states(vm, "R");
        vfio_user_test_assert_property(vm, "device-state", "running");
        g_assert_cmpuint(reconnect_count_errors(vm, "dev0: lost: "), ==, i);
        g_assert_cmpuint(reconnect_count_errors(vm, "dev0: back: "), ==, i);
        g_assert_cmpuint(reconnect_count_errors(vm, "\n"), ==, 2 * i);
    }
    reconnect_assert_no_event(vm, "VFIO_USER_DISCONNECTED");
    reconnect_assert_no_event(vm, "VFIO_USER_RECONNECTED");
}

/* The state first, then memory, the reset, and interrupts */
static void assert_story(Guest *guest)
{
    g_autofree char *story = vfio_user_test_whole_story(guest->vm, 0);

    g_assert_cmpstr(story, ==, "R MAP RESET IRQS");
    g_assert_cmpuint(vfio_user_test_count_refusals(guest->vm, 0), ==, 0);
}

static void test_reconnect_order(const void *data)
{
    g_autoptr(Guest) guest = reconnect_start(NULL, NULL);

    reconnect_lose_and_return(guest->vm, NULL);
    assert_story(guest);
}

/* A server that is away for longer than a few tries */
static void test_reconnect_away(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .device = RECONNECT_DEVICE, .keep_errors = true,
        .early_options = "-trace vfio_user_reconnect",
    };
    g_autoptr(Guest) guest = guest_start_vm(&config);
    VFIOUserTestVM *vm = guest->vm;

    reconnect_lose(vm);
    reconnect_wait_errors(vm, "cannot connect: ", 3);
    reconnect_return(vm, NULL);
    g_assert_cmpuint(reconnect_count_errors(vm, "not back"), ==, 0);
    guest_enable(guest);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, MOCK_BAR0_ID_VALUE);
}

/* Memory is what it is when the server comes, not what it was */
static void test_reconnect_dma(const void *data)
{
    g_autoptr(Guest) guest = reconnect_start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    QPCIDevice *bridge = qpci_device_find(guest->bus, QPCI_DEVFN(0, 0));
    unsigned regions = mock_dma_region_count(vm->mock);
    uint64_t value = 0;

    g_assert_cmpint(mock_dma_write(vm->mock, 0xc0000, &value, 8), !=, 0);
    reconnect_lose(vm);
    qpci_config_writeb(bridge, PAM1, 0x33);     /* RAM at 0xc0000 */
    reconnect_return(vm, NULL);
    reach_assert(guest->vm, 0, 0);
    reach_assert(guest->vm, 0xc0000, 0xc0000);
    reach_assert(guest->vm, 0x100000, 0x100000);
    reach_assert(vm, VFIO_USER_TEST_RAM_SIZE - 8,
                 VFIO_USER_TEST_RAM_SIZE - 8);
    g_assert_cmpint(mock_dma_read(vm->mock, VFIO_USER_TEST_RAM_SIZE, &value,
                                  8), ==, -ENOENT);

    reconnect_lose(vm);
    qpci_config_writeb(bridge, PAM1, 0);
    reconnect_return(vm, NULL);
    g_assert_cmpuint(mock_dma_region_count(vm->mock), ==, regions);
    g_assert_cmpint(mock_dma_write(vm->mock, 0xc0000, &value, 8), !=, 0);

    /* and it still follows */
    qpci_config_writeb(bridge, PAM1, 0x33);
    reach_assert(guest->vm, 0xc0000, 0xc0000);
    guest_enable(guest);
    guest_dma(guest, MESSAGE, 0x100, 0x5a, MOCK_DMA_FILL);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_DMA_STATUS), ==, 0);
    g_assert_cmphex(qtest_readl(vm->qts, MESSAGE), ==, 0x5a5a5a5a);
    g_free(bridge);
}

static void assert_interrupts(Guest *guest, uint64_t address, uint32_t value)
{
    g_assert_cmpint(mock_raise_irq(guest->vm->mock, MOCK_IRQ_MSIX, 1), ==, 0);
    pci_test_wait_message(guest->vm->qts, address, value);
}

/* What was enabled is so no more, until the driver does it again */
static void test_reconnect_msix(const void *data)
{
    g_autoptr(Guest) guest = reconnect_start(NULL, NULL);
    uint8_t msix = qpci_find_capability(guest->device, PCI_CAP_ID_MSIX, 0);
    unsigned i;

    for (i = 1; i <= 2; i++) {
        Mock *mock;

        qpci_msix_enable(guest->device);
        pci_test_set_vector(guest->device, 1, MESSAGE, i);
        g_assert_cmpuint(mock_irq_count(guest->vm->mock, MOCK_IRQ_MSIX), >, 0);
        assert_interrupts(guest, MESSAGE, i);

        reconnect_lose_and_return(guest->vm, NULL);
        mock = guest->vm->mock;
        assert_story(guest);
        g_assert_cmpuint(mock_irq_count(mock, MOCK_IRQ_MSIX), ==, 0);
        g_assert_cmpuint(mock_irq_count(mock, MOCK_IRQ_INTX), ==, 1);
        g_assert_cmphex(qpci_config_readw(guest->device,
                                          msix + PCI_MSIX_FLAGS) &
                        PCI_MSIX_FLAGS_ENABLE, ==, 0);
        guest->device->msix_enabled = false;
        guest_enable(guest);
    }
    g_assert_cmpuint(reconnect_count_errors(guest->vm, "\n"), ==, 4);
}

static void test_reconnect_intx(const void *data)
{
    g_autoptr(Guest) guest = reconnect_start(NULL, NULL);
    QTestState *qts = guest->vm->qts;
    unsigned i;

    qtest_irq_intercept_in(qts, "ioapic");
    for (i = 0; i < 2; i++) {
        /* lost with the line up, which nobody else would lower */
        g_assert_cmpint(mock_raise_irq(guest->vm->mock, MOCK_IRQ_INTX, 0), ==,
                        0);
        pci_test_wait_intx(qts, true);
        reconnect_lose_and_return(guest->vm, NULL);
        g_assert_false(pci_test_intx_level(qts));
        guest_enable(guest);
    }
    g_assert_cmpint(mock_raise_irq(guest->vm->mock, MOCK_IRQ_INTX, 0), ==, 0);
    pci_test_wait_intx(qts, true);
    guest_writel(guest, MOCK_BAR0_INTX_STATUS, 1);
    pci_test_wait_intx(qts, false);
}

/* A mapped BAR shows the new server's memory, and makes no message. */
static void test_reconnect_mapped(const void *data)
{
    const MockPattern read = {
        .command = MOCK_REGION_READ, .match = MOCK_MATCH_REGION, .region = 2,
    };
    g_autoptr(Guest) guest = NULL;
    MockConfig mock;
    QPCIBar bar2;

    mock_config_init(&mock);
    mock.bar2_size = 0x8000;
    mock.bar2_areas = 2;
    guest = reconnect_start(NULL, &mock);
    bar2 = qpci_iomap(guest->device, 2, NULL);
    qpci_io_writel(guest->device, bar2, PAGE, 0x01d01d01);
    reconnect_lose_and_return(guest->vm, &mock);
    guest_enable(guest);
    g_assert_cmphex(qpci_io_readl(guest->device, bar2, PAGE), ==, 0);
    qpci_io_writel(guest->device, bar2, PAGE, 0x00e00e00);
    g_assert_cmphex(qpci_io_readl(guest->device, bar2, PAGE), ==, 0x00e00e00);
    g_assert_cmpuint(mock_journal_count(guest->vm->mock, 0, &read), ==, 0);
}

/* --- a guest that does not run --- */

/*
 * A new server's device is stopped, one that knows of its old connection may
 * be so already; all else waits until the guest goes on.
 */
static void test_reconnect_paused(const void *data)
{
    MockBehaviour behaviour = GPOINTER_TO_UINT(data);
    g_autofree char *before = NULL, *after = NULL, *kept = NULL;
    g_autoptr(Guest) guest = NULL;
    VFIOUserTestVM *vm;
    MockConfig mock;

    mock_config_init(&mock);
    mock.behaviour = behaviour;
    mock.refuse_when_stopped = true;
    guest = reconnect_start(NULL, &mock);
    vm = guest->vm;
    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    reconnect_lose_and_return(guest->vm, &mock);
    g_assert_cmpuint(mock_device_state(vm->mock), ==, MOCK_STATE_STOP);
    g_assert_cmpuint(mock_dma_region_count(vm->mock), ==, 0);
    before = vfio_user_test_whole_story(vm, 0);
    g_assert_cmpstr(before, ==, "R W0");

    vm->mark = mock_journal_length(vm->mock);
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    after = vfio_user_test_whole_story(vm, vm->mark);
    g_assert_cmpstr(after, ==, "W1 RESET MAP IRQS");
    g_assert_cmpuint(vfio_user_test_count_refusals(vm, 0), ==, 0);
    g_assert_cmpuint(mock_irq_count(vm->mock, MOCK_IRQ_INTX), ==, 1);
    reach_assert(guest->vm, 0x100000, 0x100000);

    /* the same server, which has only hung up; it may refuse GET_INFO */
    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    mock_disconnect(vm->mock);
    reconnect_wait_lost(vm);
    vm->mark = mock_journal_length(vm->mock);
    reconnect_wait_back(vm);
    g_assert_cmpuint(mock_device_state(vm->mock), ==, MOCK_STATE_STOP);
    kept = vfio_user_test_states(vm, vm->mark);
    g_test_message("%s: %s", mock_behaviour_name(behaviour), kept);
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    g_assert_cmpuint(mock_device_state(vm->mock), ==, MOCK_STATE_RUNNING);
    reach_assert(guest->vm, 0x100000, 0x100000);
}

/* --- registration --- */

static const struct {
    const char *path;
    void (*run)(const void *data);
} reconnect_tests[] = {
    { "registers", test_reconnect_registers },
    { "order", test_reconnect_order },
    { "away", test_reconnect_away },
    { "dma", test_reconnect_dma },
    { "msix", test_reconnect_msix },
    { "intx", test_reconnect_intx },
    { "mapped", test_reconnect_mapped },
};

void vfio_user_test_add_reconnect(void)
{
    MockBehaviour behaviour;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(reconnect_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/reconnect/%s",
                                                reconnect_tests[i].path);

        vfio_user_test_add(path, reconnect_tests[i].run, NULL);
    }
    for (behaviour = 0; behaviour < MOCK_NUM_BEHAVIOURS; behaviour++) {
        g_autofree char *path =
            g_strdup_printf("/vfio-user/reconnect/paused/%s",
                            mock_behaviour_name(behaviour));

        vfio_user_test_add(path, test_reconnect_paused,
                           GUINT_TO_POINTER(behaviour));
    }
}
