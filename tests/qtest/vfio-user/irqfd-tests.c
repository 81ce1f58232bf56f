/*
 * Interrupts with KVM, which takes them from the server without QEMU: on a fake
 * of KVM, which notes what it gets and what it would do with it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "pci.h"
#include "qapi/qmp/qdict.h"
#include "standard-headers/linux/pci_regs.h"

/* A message goes here if QEMU sends it; memory that is nothing but RAM */
#define MESSAGE 0x00400000

/* INTx is KVM's at realize, and again after the reset */
#define STARTED "ADD LEVEL LINE, REMOVE LINE, ADD LEVEL LINE"

static Guest *start(const char *properties, const MockConfig *mock)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .device = properties, .mock = mock, .kvm = true,
    };

    return guest_start_vm(&config);
}

/* BAR0 is where it was before the device was reset, or new. */
static void enable_memory(Guest *guest)
{
    qpci_config_writel(guest->device, PCI_BASE_ADDRESS_0, guest->bar0.addr);
    qpci_config_writew(guest->device, PCI_COMMAND,
                       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* The server's interrupt must reach KVM, which sends it, and QEMU does not. */
static void assert_kvm_sends(VFIOUserTestVM *vm, unsigned index,
                             unsigned vector, const char *expected)
{
    g_assert_cmpint(mock_raise_irq(vm->mock, index, vector), ==, 0);
    vfio_user_test_assert_kvm(vm, expected);
    g_assert_cmphex(qtest_readl(vm->qts, MESSAGE + 4 * vector), ==, 0);
}

/* It must reach QEMU, and nothing reaches KVM. */
static void assert_qemu_sends(VFIOUserTestVM *vm, unsigned index,
                              unsigned vector, uint32_t value)
{
    uint64_t address = MESSAGE + 4 * vector;

    g_assert_cmphex(qtest_readl(vm->qts, address), ==, 0);
    g_assert_cmpint(mock_raise_irq(vm->mock, index, vector), ==, 0);
    pci_test_wait_message(vm->qts, address, value);
    qtest_writel(vm->qts, address, 0);
    vfio_user_test_assert_kvm(vm, "");
}

/* SET_IRQS: flags, index, start, count, number of fds */
#define SET_IRQS(f, i, s, c, n) \
    MOCK_STEP_ONE({ .command = MOCK_DEVICE_SET_IRQS, \
                    .match = MOCK_MATCH_REGION | MOCK_MATCH_OFFSET | \
                             MOCK_MATCH_COUNT | MOCK_MATCH_VALUE | \
                             MOCK_MATCH_FDS, \
                    .region = (i), .offset = (s), .count = (c), \
                    .value = (f), .fds = (n) })

/* Flags: what comes along, and what to do */
#define DATA_NONE 0x01
#define DATA_EVENTFD 0x04
#define ACTION_MASK 0x08
#define ACTION_UNMASK 0x10
#define ACTION_TRIGGER 0x20

/* From the mark on, of this type of interrupts; moves the mark. */
static void assert_told(VFIOUserTestVM *vm, unsigned index,
                        const MockStep *steps, size_t num_steps)
{
    MockPattern filter = {
        .command = MOCK_DEVICE_SET_IRQS,
        .match = MOCK_MATCH_REGION, .region = index,
    };
    VFIOUserTestSequence sequence = {
        .filter = &filter, .num_filter = 1,
        .steps = steps, .num_steps = num_steps,
    };

    vfio_user_test_assert_sequence(vm, vm->mark, &sequence);
    vm->mark = mock_journal_length(vm->mock);
}

/* --- MSI-X and MSI --- */

static void enable_msix(Guest *guest)
{
    vfio_user_test_assert_kvm(guest->vm, STARTED);
    qpci_msix_enable(guest->device);
    vfio_user_test_assert_kvm(guest->vm, "REMOVE LINE");
}

static void test_irqfd_msix(const void *data)
{
    g_autoptr(Guest) guest = start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    unsigned vector;

    enable_msix(guest);
    for (vector = 0; vector < MOCK_MSIX_VECTORS; vector++) {
        g_autofree char *message = g_strdup_printf("MSI %x=%x",
                                                   MESSAGE + 4 * vector,
                                                   0x100 + vector);
        g_autofree char *add = g_strdup_printf("ADD %s", message);
        g_autofree char *send = g_strdup_printf("SEND %s", message);

        pci_test_set_vector(guest->device, vector, MESSAGE + 4 * vector,
                            0x100 + vector);
        vfio_user_test_assert_kvm(vm, add);
        assert_kvm_sends(vm, MOCK_IRQ_MSIX, vector, send);
        assert_kvm_sends(vm, MOCK_IRQ_MSIX, vector, send);
    }
    /* an earlier one is where it was, though the server got all anew */
    assert_kvm_sends(vm, MOCK_IRQ_MSIX, 0, "SEND MSI 400000=100");
    g_assert_cmpuint(mock_irq_count(vm->mock, MOCK_IRQ_MSIX), ==,
                     MOCK_MSIX_VECTORS);
    qpci_msix_disable(guest->device);
    vfio_user_test_assert_kvm(vm, "REMOVE MSI 400000=100, "
                              "REMOVE MSI 400004=101, REMOVE MSI 400008=102, "
                              "REMOVE MSI 40000c=103, ADD LEVEL LINE");
}

static void mask_vector(Guest *guest, unsigned vector, bool masked)
{
    qpci_io_writel(guest->device, guest->device->msix_table_bar,
                   guest->device->msix_table_off +
                   vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL,
                   masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
}

/*
 * While a vector is masked the server has QEMU's eventfd, so that QEMU marks
 * it as pending. KVM keeps its own, for the server to get back.
 */
static void test_irqfd_msix_mask(const void *data)
{
    static const MockStep told[] = {
        SET_IRQS(DATA_EVENTFD | ACTION_TRIGGER, MOCK_IRQ_MSIX, 1, 1, 1),
        SET_IRQS(DATA_NONE | ACTION_UNMASK, MOCK_IRQ_MSIX, 0, 2, 0),
    };
    g_autoptr(Guest) guest = start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;

    enable_msix(guest);
    pci_test_set_vector(guest->device, 0, MESSAGE, 0x100);
    pci_test_set_vector(guest->device, 1, MESSAGE + 4, 0x101);
    vfio_user_test_assert_kvm(vm, "ADD MSI 400000=100, ADD MSI 400004=101");

    vm->mark = mock_journal_length(vm->mock);
    mask_vector(guest, 1, true);
    assert_told(vm, MOCK_IRQ_MSIX, told, G_N_ELEMENTS(told));
    g_assert_cmpint(mock_raise_irq(vm->mock, MOCK_IRQ_MSIX, 1), ==, 0);
    vfio_user_test_assert_kvm(vm, "");
    g_assert_true(qpci_msix_pending(guest->device, 1));
    g_assert_cmphex(qtest_readl(vm->qts, MESSAGE + 4), ==, 0);
    assert_kvm_sends(vm, MOCK_IRQ_MSIX, 0, "SEND MSI 400000=100");

    /* as a driver moves it to another vCPU */
    qpci_io_writel(guest->device, guest->device->msix_table_bar,
                   guest->device->msix_table_off + PCI_MSIX_ENTRY_SIZE +
                   PCI_MSIX_ENTRY_DATA, 0x201);
    mask_vector(guest, 1, false);
    assert_told(vm, MOCK_IRQ_MSIX, told, G_N_ELEMENTS(told));
    pci_test_wait_message(vm->qts, MESSAGE + 4, 0x201);
    qtest_writel(vm->qts, MESSAGE + 4, 0);
    assert_kvm_sends(vm, MOCK_IRQ_MSIX, 1, "SEND MSI 400004=201");
    g_assert_false(qpci_msix_pending(guest->device, 1));
}

static void test_irqfd_no_msix(const void *data)
{
    g_autoptr(Guest) guest = start("x-no-kvm-msix=on", NULL);

    enable_msix(guest);
    pci_test_set_vector(guest->device, 0, MESSAGE, 0x100);
    pci_test_set_vector(guest->device, 1, MESSAGE + 4, 0x101);
    assert_qemu_sends(guest->vm, MOCK_IRQ_MSIX, 0, 0x100);
    assert_qemu_sends(guest->vm, MOCK_IRQ_MSIX, 1, 0x101);
}

static void set_msi(Guest *guest, uint16_t value, bool enabled)
{
    QPCIDevice *device = guest->device;
    uint8_t msi = qpci_find_capability(device, PCI_CAP_ID_MSI, 0);
    uint16_t flags = qpci_config_readw(device, msi + PCI_MSI_FLAGS);

    qpci_config_writel(device, msi + PCI_MSI_ADDRESS_LO, MESSAGE);
    qpci_config_writew(device, msi + (flags & PCI_MSI_FLAGS_64BIT ?
                                      PCI_MSI_DATA_64 : PCI_MSI_DATA_32),
                       value);
    qpci_config_writew(device, msi + PCI_MSI_FLAGS,
                       enabled ? flags | PCI_MSI_FLAGS_ENABLE :
                                 flags & ~PCI_MSI_FLAGS_ENABLE);
}

static Guest *start_msi(const char *properties)
{
    MockConfig mock;

    mock_config_init(&mock);
    mock.msi = true;
    return start(properties, &mock);
}

static void test_irqfd_msi(const void *data)
{
    g_autoptr(Guest) guest = start_msi(NULL);
    VFIOUserTestVM *vm = guest->vm;

    vfio_user_test_assert_kvm(vm, STARTED);
    set_msi(guest, 0x55, true);
    vfio_user_test_assert_kvm(vm, "REMOVE LINE, ADD MSI 400000=55");
    assert_kvm_sends(vm, MOCK_IRQ_MSI, 0, "SEND MSI 400000=55");
    set_msi(guest, 0x56, true);
    assert_kvm_sends(vm, MOCK_IRQ_MSI, 0, "SEND MSI 400000=56");
    set_msi(guest, 0x56, false);
    vfio_user_test_assert_kvm(vm, "REMOVE MSI 400000=56, ADD LEVEL LINE");
    g_assert_cmpuint(mock_irq_count(vm->mock, MOCK_IRQ_MSI), ==, 0);
}

static void test_irqfd_no_msi(const void *data)
{
    g_autoptr(Guest) guest = start_msi("x-no-kvm-msi=on");

    vfio_user_test_assert_kvm(guest->vm, STARTED);
    set_msi(guest, 0x55, true);
    vfio_user_test_assert_kvm(guest->vm, "REMOVE LINE");
    assert_qemu_sends(guest->vm, MOCK_IRQ_MSI, 0, 0x55);
}

/* --- INTx --- */

static void acknowledge(Guest *guest)
{
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_INTX_STATUS), ==, 1);
    guest_writel(guest, MOCK_BAR0_INTX_STATUS, 1);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_INTX_STATUS), ==, 0);
}

/*
 * KVM raises the line, and when the guest is done with it writes the eventfd
 * by which the server unmasks the interrupt. QEMU has no part in it.
 */
static void test_irqfd_intx(const void *data)
{
    static const MockStep told[] = {
        SET_IRQS(DATA_EVENTFD | ACTION_TRIGGER, MOCK_IRQ_INTX, 0, 1, 1),
        SET_IRQS(DATA_NONE | ACTION_MASK, MOCK_IRQ_INTX, 0, 1, 0),
        SET_IRQS(DATA_EVENTFD | ACTION_UNMASK, MOCK_IRQ_INTX, 0, 1, 1),
        SET_IRQS(DATA_NONE | ACTION_UNMASK, MOCK_IRQ_INTX, 0, 1, 0),
    };
    static const MockPattern set_irqs =
        MOCK_PATTERN_COMMAND(MOCK_DEVICE_SET_IRQS);
    g_autoptr(Guest) guest = start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    int i;

    enable_msix(guest);
    vm->mark = mock_journal_length(vm->mock);
    qpci_msix_disable(guest->device);
    vfio_user_test_assert_kvm(vm, "ADD LEVEL LINE");
    assert_told(vm, MOCK_IRQ_INTX, told, G_N_ELEMENTS(told));
    for (i = 0; i < 3; i++) {
        g_assert_cmpint(mock_raise_irq(vm->mock, MOCK_IRQ_INTX, 0), ==, 0);
        vfio_user_test_assert_kvm(vm, "SEND LINE");
        g_assert_true(mock_wait_unmask(vm->mock, VFIO_USER_TEST_DEADLINE_MS));
        acknowledge(guest);
    }
    g_assert_cmpuint(mock_journal_count(vm->mock, vm->mark, &set_irqs), ==, 0);
}

/* As without KVM: the guest's access to the device ends the interrupt */
static void assert_qemu_interrupts(Guest *guest)
{
    VFIOUserTestVM *vm = guest->vm;
    int i;

    for (i = 0; i < 2; i++) {
        g_assert_cmpint(mock_raise_irq(vm->mock, MOCK_IRQ_INTX, 0), ==, 0);
        vfio_user_test_assert_kvm(vm, "QEMU LINE 1");
        acknowledge(guest);
        vfio_user_test_assert_kvm(vm, "QEMU LINE 0");
    }
}

static void test_irqfd_no_intx(const void *data)
{
    g_autoptr(Guest) guest = start("x-no-kvm-intx=on", NULL);

    vfio_user_test_assert_kvm(guest->vm, "");
    assert_qemu_interrupts(guest);
}

/* A server without an eventfd to unmask by: every one is refused. */
static Guest *start_refused(void)
{
    static const MockRule rule = {
        .where = {
            .command = MOCK_DEVICE_SET_IRQS,
            .match = MOCK_MATCH_REGION | MOCK_MATCH_VALUE,
            .region = MOCK_IRQ_INTX, .value = DATA_EVENTFD | ACTION_UNMASK,
        },
        .action = MOCK_ACTION_ERROR, .error = EINVAL,
    };
    MockConfig mock;
    VFIOUserTestVMConfig config = {
        .name = "guest", .mock = &mock, .kvm = true, .keep_errors = true,
    };
    Guest *guest;

    mock_config_init(&mock);
    mock.rules = &rule;
    mock.num_rules = 1;
    guest = guest_start_vm(&config);
    vfio_user_test_assert_kvm(guest->vm, STARTED ", REMOVE LINE");
    return guest;
}

/* QEMU says so, does the work itself, and MSI-X is KVM's all the same. */
static void test_irqfd_intx_refused(const void *data)
{
    g_autoptr(Guest) guest = start_refused();
    VFIOUserTestVM *vm = guest->vm;
    g_autofree char *errors = vfio_user_test_errors(vm);

    g_assert_nonnull(strstr(errors, "UNMASK eventfd"));
    assert_qemu_interrupts(guest);
    qpci_msix_enable(guest->device);
    pci_test_set_vector(guest->device, 0, MESSAGE, 0x100);
    vfio_user_test_assert_kvm(vm, "ADD MSI 400000=100");
    assert_kvm_sends(vm, MOCK_IRQ_MSIX, 0, "SEND MSI 400000=100");
}

/*
 * While the device is stopped its server cannot say no. What it has said
 * before counts, or else nobody would unmask the interrupt.
 */
static void test_irqfd_intx_refused_stopped(const void *data)
{
    g_autoptr(Guest) guest = start_refused();
    VFIOUserTestVM *vm = guest->vm;

    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    vfio_user_test_qmp(vm, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(vm->qts, "RESET");
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_assert_kvm(vm, "ADD LEVEL LINE, REMOVE LINE");
    enable_memory(guest);
    assert_qemu_interrupts(guest);
}

/* --- the end of a device, and its move --- */

/* As the firmware does; the slot's first pin is the first one of PIIX3 */
static void route_intx(Guest *guest)
{
    QPCIDevice *piix3 = qpci_device_find(guest->bus, QPCI_DEVFN(1, 0));

    g_assert_nonnull(piix3);
    qpci_config_writeb(piix3, 0x60, 11);
    g_free(piix3);
}

static void test_irqfd_unplug(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = "pc", .kvm = true,
    };
    g_autoptr(Guest) guest = guest_start_vm(&config);
    VFIOUserTestVM *vm = guest->vm;
    unsigned fds;
    int i;

    vfio_user_test_assert_kvm(vm, STARTED);
    route_intx(guest);
    vfio_user_test_assert_kvm(vm, "REMOVE LINE, ADD LEVEL LINE");
    fds = vfio_user_test_count_fds(vm->pid);
    for (i = 0; i < 3; i++) {
        qpci_msix_enable(guest->device);
        pci_test_set_vector(guest->device, 0, MESSAGE, 0x100);
        assert_kvm_sends(vm, MOCK_IRQ_MSIX, 0, "REMOVE LINE, "
                         "ADD MSI 400000=100, SEND MSI 400000=100");
        qpci_unplug_acpi_device_test(vm->qts, "dev0",
                                     VFIO_USER_TEST_DEVICE_SLOT);
        vfio_user_test_assert_kvm(vm, "REMOVE MSI 400000=100, "
                                  "ADD LEVEL LINE, REMOVE LINE");
        vfio_user_test_qmp(vm, "{'execute': 'device_add', 'arguments': {"
                           "'driver': 'vfio-user-pci', 'id': 'dev0',"
                           "'addr': '5.0', 'socket': %s}}", vm->socket_path);
        vfio_user_test_assert_kvm(vm, STARTED);
        g_assert_cmpuint(vfio_user_test_count_fds(vm->pid), ==, fds);
        enable_memory(guest);
    }
}

/* What the guest has set up at the source is KVM's at the destination. */
static void test_irqfd_migrate(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "destination", .incoming = true, .kvm = true,
    };
    g_autoptr(Guest) source = start(NULL, NULL);
    g_autoptr(VFIOUserTestVM) destination = vfio_user_test_vm_new(&config);
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           destination->migration_path);

    enable_msix(source);
    pci_test_set_vector(source->device, 0, MESSAGE, 0x100);
    vfio_user_test_assert_kvm(source->vm, "ADD MSI 400000=100");
    vfio_user_test_assert_kvm(destination, STARTED);
    vfio_user_test_qmp(source->vm, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    qobject_unref(vfio_user_test_wait_migration(source->vm, "completed"));
    qtest_qmp_eventwait(destination->qts, "RESUME");
    vfio_user_test_settle(destination);
    vfio_user_test_assert_kvm(destination, "REMOVE LINE, ADD MSI 400000=100");
    assert_kvm_sends(destination, MOCK_IRQ_MSIX, 0, "SEND MSI 400000=100");
    vfio_user_test_assert_kvm(source->vm, "");
}

static const struct {
    const char *path;
    void (*run)(const void *data);
} irqfd_tests[] = {
    { "msix", test_irqfd_msix },
    { "msix-mask", test_irqfd_msix_mask },
    { "no-msix", test_irqfd_no_msix },
    { "msi", test_irqfd_msi },
    { "no-msi", test_irqfd_no_msi },
    { "intx", test_irqfd_intx },
    { "no-intx", test_irqfd_no_intx },
    { "intx-refused", test_irqfd_intx_refused },
    { "intx-refused-stopped", test_irqfd_intx_refused_stopped },
    { "unplug", test_irqfd_unplug },
    { "migrate", test_irqfd_migrate },
};

/* QEMU has it for the architecture of the host, if at all */
static bool has_kvm(void)
{
    static const char *const targets[] = { CONFIG_KVM_TARGETS };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(targets); i++) {
        if (g_str_equal(targets[i], "x86_64-softmmu")) {
            return true;
        }
    }
    return false;
}

void vfio_user_test_add_irqfd(void)
{
    size_t i;

    if (!has_kvm()) {
        return;
    }
    for (i = 0; i < G_N_ELEMENTS(irqfd_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/irqfd/%s",
                                                irqfd_tests[i].path);

        vfio_user_test_add(path, irqfd_tests[i].run, NULL);
    }
}
