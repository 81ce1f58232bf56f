/*
 * What happens around a device that is stopped, which its server would refuse
 * to hear of: it is told when the device runs again, before the guest does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"
#include "libqos/pci.h"
#include "libqos/pci-pc.h"
#include "standard-headers/linux/pci_regs.h"

#define MIB (1024 * 1024)
#define DIMM_ADDRESS (4ull * 1024 * MIB)

typedef struct LateTest {
    const char *path;
    void (*act)(VFIOUserTestVM *vm);
    /* After the cont; the server is told nothing between stop and cont */
    const char *story;
    void (*check)(VFIOUserTestVM *vm);
} LateTest;

/* --- what happens meanwhile, and what must come of it --- */

static void reset(VFIOUserTestVM *vm)
{
    vfio_user_test_qmp(vm, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(vm->qts, "RESET");
    vfio_user_test_settle(vm);
}

static void check_reset(VFIOUserTestVM *vm)
{
    g_assert_cmpuint(mock_reset_count(vm->mock), ==, 2);
    g_assert_cmpint(mock_raise_irq(vm->mock, MOCK_IRQ_INTX, 0), ==, 0);
}

static void plug_memory(VFIOUserTestVM *vm)
{
    vfio_user_test_qmp(vm, "{'execute': 'object-add', 'arguments': {"
                       "'qom-type': 'memory-backend-memfd', 'id': 'more',"
                       "'size': %d, 'share': true}}", 128 * MIB);
    vfio_user_test_qmp(vm, "{'execute': 'device_add', 'arguments': {"
                       "'driver': 'pc-dimm', 'id': 'dimm0',"
                       "'memdev': 'more'}}");
    vfio_user_test_settle(vm);
}

static void check_memory(VFIOUserTestVM *vm)
{
    bool has_fd;
    uint8_t byte = 0xd1;

    g_assert_true(mock_dma_is_mapped(vm->mock, DIMM_ADDRESS, 128 * MIB,
                                     &has_fd));
    g_assert_true(has_fd);
    g_assert_cmpint(mock_dma_write(vm->mock, DIMM_ADDRESS + 5 * MIB, &byte,
                                   1), ==, 0);
    g_assert_cmphex(qtest_readb(vm->qts, DIMM_ADDRESS + 5 * MIB), ==, byte);
}

/* As a guest's driver does; its vCPU may be on its way out when QEMU stops */
static void enable_msix(VFIOUserTestVM *vm)
{
    QPCIBus *bus = qpci_new_pc(vm->qts, NULL);
    QPCIDevice *device = qpci_device_find(
        bus, QPCI_DEVFN(VFIO_USER_TEST_DEVICE_SLOT, 0));
    uint8_t msix = qpci_find_capability(device, PCI_CAP_ID_MSIX, 0);

    qpci_config_writew(device, msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
    g_free(device);
    qpci_free_pc(bus);
}

static void check_msix(VFIOUserTestVM *vm)
{
    g_assert_cmpuint(mock_irq_count(vm->mock, MOCK_IRQ_INTX), ==, 0);
    g_assert_cmpuint(mock_irq_count(vm->mock, MOCK_IRQ_MSIX), >, 0);
}

static void nothing(VFIOUserTestVM *vm)
{
}

static void do_all(VFIOUserTestVM *vm)
{
    reset(vm);
    plug_memory(vm);
    enable_msix(vm);
}

/* A reset that came later would have undone the rest */
static void check_all(VFIOUserTestVM *vm)
{
    g_assert_cmpuint(mock_reset_count(vm->mock), ==, 2);
    check_memory(vm);
    check_msix(vm);
}

/* The reset comes first, memory before interrupts. */
static const LateTest late_tests[] = {
    { "nothing", nothing, .story = "W1", .check = nothing },
    { "reset", reset, .story = "W1 RESET IRQS", .check = check_reset },
    { "memory", plug_memory, .story = "W1 MAP", .check = check_memory },
    { "msix", enable_msix, .story = "W1 IRQS", .check = check_msix },
    { "all", do_all, .story = "W1 RESET MAP IRQS", .check = check_all },
};

/* --- the one way in which all of these run --- */

typedef struct LateCase {
    const LateTest *test;
    MockBehaviour behaviour;
} LateCase;

static void test_late(const void *data)
{
    const LateCase *this = data;
    MockConfig mock;
    VFIOUserTestVMConfig config = {
        .name = "guest", .mock = &mock,
        .options = "-m 128M,slots=1,maxmem=512M",
    };
    g_autoptr(VFIOUserTestVM) vm = NULL;
    g_autofree char *stopped = NULL, *story = NULL;

    mock_config_init(&mock);
    mock.behaviour = this->behaviour;
    mock.refuse_when_stopped = true;
    vm = vfio_user_test_vm_new(&config);
    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    this->test->act(vm);
    stopped = vfio_user_test_whole_story(vm, vm->mark);
    g_assert_cmpstr(stopped, ==, "W0");
    vm->mark = mock_journal_length(vm->mock);

    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    story = vfio_user_test_whole_story(vm, vm->mark);
    g_test_message("%s", story);
    g_assert_cmpstr(story, ==, this->test->story);
    g_assert_cmpuint(vfio_user_test_count_refusals(vm, 0), ==, 0);
    this->test->check(vm);
}

void vfio_user_test_add_late(void)
{
    MockBehaviour behaviour;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(late_tests); i++) {
        for (behaviour = 0; behaviour < MOCK_NUM_BEHAVIOURS; behaviour++) {
            /* for as long as the tests run */
            LateCase *this = g_new(LateCase, 1);
            g_autofree char *path = g_strdup_printf("/vfio-user/late/%s/%s",
                                                    late_tests[i].path,
                                            mock_behaviour_name(behaviour));

            *this = (LateCase) { &late_tests[i], behaviour };
            vfio_user_test_add(path, test_late, this);
        }
    }
}
