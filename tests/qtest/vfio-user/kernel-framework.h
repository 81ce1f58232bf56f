/*
 * What the tests of kernel devices share: a QEMU whose vfio-pci finds a fake
 * of the kernel's VFIO, and the journal of what that kernel saw.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_KERNEL_FRAMEWORK_H
#define TESTS_QTEST_VFIO_USER_KERNEL_FRAMEWORK_H

#include "libqtest.h"
#include "fake-kernel.h"

/*
 * Every wait ends: those for the journal by themselves, those for QEMU because
 * the test's watchdog kills the QEMUs.
 */
#define KERNEL_TEST_DEADLINE_MS 20000
#define KERNEL_TEST_WATCHDOG_S 50

#define KERNEL_TEST_RAM_SIZE (64 * 1024 * 1024)
#define KERNEL_TEST_DEVICE_SLOT 5

/* The device's name in the host: domain, FAKE_KERNEL_BUS, slot, function */
#define KERNEL_TEST_DEVICE "0000:5a:00.0"

/* A QEMU with a fake kernel, and its device "dev0" */
typedef struct KernelTestVM {
    const char *name;           /* for messages */
    QTestState *qts;            /* NULL once QEMU has ended */
    pid_t pid;
    char *dir;
    char *sysfs;                /* the device's folder, in dir */
    char *journal;              /* these are files in dir */
    char *gate;
    char *migration;
    char *pid_path;
    int gate_fd;                /* -1: there is no gate */
    size_t seen;                /* bytes of the journal compared so far */
} KernelTestVM;

typedef struct KernelTestVMConfig {
    const char *name;           /* Required: "source" */
    const char *machine;        /* Optional: NULL takes "q35" */
    const char *behaviour;      /* Optional: of the kernel */
    const char *device;         /* Optional: properties, "a=1,b=2" */
    bool gate;                  /* the pre-copy waits for open_gate() */
    bool incoming;              /* wait for a migration */
    bool paused;                /* as with -S */
    const char *start;          /* Optional: NULL takes "R 1, RESET" */
} KernelTestVMConfig;

/* Register a test, which runs under the watchdog. @data must live until then */
void kernel_test_add(const char *path, void (*run)(const void *data),
                     const void *data);

/*
 * Start a QEMU. Its device has been realized and reset, and the guest runs if
 * it is to; the journal has to show @config->start. Free with
 * kernel_test_vm_free().
 */
KernelTestVM *kernel_test_vm_new(const KernelTestVMConfig *config);

/* Wait until QEMU ends by itself; its exit status must be @status. */
void kernel_test_vm_wait_exit(KernelTestVM *vm, int status);

/* End QEMU, if it is there still. NULL is fine. */
void kernel_test_vm_free(KernelTestVM *vm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(KernelTestVM, kernel_test_vm_free)

/* Let the pre-copy come to its end. */
void kernel_test_open_gate(KernelTestVM *vm);

/* Fail the test here, with a text; the journals follow. */
#define kernel_test_fail(...) \
    do { \
        g_autofree char *message_ = g_strdup_printf(__VA_ARGS__); \
        g_assertion_message(G_LOG_DOMAIN, __FILE__, __LINE__, G_STRFUNC, \
                            message_); \
    } while (0)

/* A QMP command that must succeed; what it returns is dropped. */
void kernel_test_qmp(KernelTestVM *vm, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/*
 * Let QEMU's main loop do what it has been given to do. Its answer to one
 * command may overtake a bottom half, that to the next one cannot.
 */
void kernel_test_settle(KernelTestVM *vm);

/* Wait until query-status says @status ("running"). */
void kernel_test_wait_status(KernelTestVM *vm, const char *status);

/*
 * The journal must go on with @expected, "W 3, SAVE 3/0", and with nothing
 * else; "" is nothing at all. Waits for as many lines.
 */
void kernel_test_assert_journal(KernelTestVM *vm, const char *expected);

/* Registration of the areas */
void kernel_test_add_device(void);
void kernel_test_add_migration(void);

#endif /* TESTS_QTEST_VFIO_USER_KERNEL_FRAMEWORK_H */
