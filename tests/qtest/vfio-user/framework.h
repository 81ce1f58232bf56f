/*
 * What the vfio-user qtests share: a QEMU with the mock server behind its
 * device, the traffic that the server saw, and a migration test as data.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_FRAMEWORK_H
#define TESTS_QTEST_VFIO_USER_FRAMEWORK_H

#include "libqtest.h"
#include "tests/vfio-user-mock/mock.h"
#include "areas.h"

/*
 * Every wait ends: those for the mock by themselves, those for QEMU because
 * the test's watchdog kills the QEMUs when no new one was started for long.
 */
#define VFIO_USER_TEST_DEADLINE_MS 20000
#define VFIO_USER_TEST_WATCHDOG_MS 50000

#define VFIO_USER_TEST_RAM_SIZE (128 * 1024 * 1024)
#define VFIO_USER_TEST_DEVICE_SLOT 5

/* A QEMU and the server of its device, "dev0". */
typedef struct VFIOUserTestVM {
    Mock *mock;
    QTestState *qts;            /* NULL after vfio_user_test_vm_quit() */
    char *name;
    char *dir;
    char *socket_path;
    char *migration_path;
    char *pid_path;
    char *errors_path;          /* NULL: standard error is the test's */
    char *kvm_path;             /* journal of the fake of KVM, if it has one */
    size_t kvm_seen;            /* bytes of it compared so far */
    pid_t pid;
    unsigned mark;              /* journal length when QEMU had started */
} VFIOUserTestVM;

typedef struct VFIOUserTestVMConfig {
    const char *name;           /* Required: "source", for paths and dumps */
    const MockConfig *mock;     /* Optional: NULL takes the defaults */
    const char *machine;        /* Optional: NULL takes "q35" */
    const char *device;         /* Optional: properties, "a=1,b=2" */
    const char *options;        /* Optional: for QEMU's command line */
    const char *early_options;  /* Optional: the same, before the device */
    unsigned ram_size;          /* Optional: 0 takes VFIO_USER_TEST_RAM_SIZE */
    bool incoming;              /* Optional: wait for a migration */
    bool no_device;             /* Optional: without -device */
    bool keep_errors;           /* Optional: for vfio_user_test_errors() */
    bool private_ram;           /* Optional: guest memory not to be shared */
    bool kvm;                   /* Optional: on a fake of KVM */
} VFIOUserTestVMConfig;

/*
 * Register a test. It runs under the watchdog, and fails if it leaves a file
 * descriptor behind. @data must live until then.
 */
void vfio_user_test_add(const char *path, void (*run)(const void *data),
                        const void *data);

/* Start a server and a QEMU. Free with vfio_user_test_vm_free(). */
VFIOUserTestVM *vfio_user_test_vm_new(const VFIOUserTestVMConfig *config);

/*
 * Start a QEMU where vfio_user_test_vm_quit() ended one, with the server of
 * before; @config's name, mock and keep_errors are not looked at.
 */
void vfio_user_test_vm_restart(VFIOUserTestVM *vm,
                               const VFIOUserTestVMConfig *config);

/*
 * Run a QEMU that is to end by itself, with @args on its command line. Returns
 * the exit status (-1: killed by a signal); *errors is what it wrote to
 * standard error, to be freed with g_free().
 */
int vfio_user_test_run_qemu(const char *args, char **errors);

/*
 * Start a server anew, where mock_stop() ended one. NULL takes the defaults.
 * vm->mark is 0, the start of its journal.
 */
void vfio_user_test_vm_restart_mock(VFIOUserTestVM *vm,
                                    const MockConfig *config);

/* End QEMU, if it is there still; the server and its journal stay. */
void vfio_user_test_vm_quit(VFIOUserTestVM *vm);

/* End QEMU as a crash does: nothing more comes from it after the return. */
void vfio_user_test_vm_kill(VFIOUserTestVM *vm);

/* Wait until QEMU ends by itself; its exit status must be @status. */
void vfio_user_test_vm_wait_exit(VFIOUserTestVM *vm, int status);

/* End QEMU and server. NULL is fine. */
void vfio_user_test_vm_free(VFIOUserTestVM *vm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VFIOUserTestVM, vfio_user_test_vm_free)

/* Fail the test here, with a text; the journals follow. */
#define vfio_user_test_fail(...) \
    do { \
        g_autofree char *message_ = g_strdup_printf(__VA_ARGS__); \
        g_assertion_message(G_LOG_DOMAIN, __FILE__, __LINE__, G_STRFUNC, \
                            message_); \
    } while (0)

/*
 * What QEMU has written to standard error so far, with keep_errors. Stays there
 * when QEMU has ended. Free with g_free().
 */
char *vfio_user_test_errors(VFIOUserTestVM *vm);

/* It must contain @text. */
void vfio_user_test_assert_said(VFIOUserTestVM *vm, const char *text);

/* Number of open file descriptors of a process; 0 is the test itself. */
unsigned vfio_user_test_count_fds(pid_t pid);

/* Number of threads of a process; 0 is the test itself. */
unsigned vfio_user_test_count_threads(pid_t pid);

/*
 * Wait until QEMU has so many open file descriptors: what a device leaves
 * behind goes when RCU readers are through. False after the deadline.
 */
bool vfio_user_test_wait_fds(VFIOUserTestVM *vm, unsigned fds);

/* The same for threads */
bool vfio_user_test_wait_threads(VFIOUserTestVM *vm, unsigned threads);

/* The watchdog's time starts again: the test goes on. */
void vfio_user_test_prolong(void);

/* A QMP command that must succeed; what it returns is dropped. */
void vfio_user_test_qmp(VFIOUserTestVM *vm, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/* A QMP command that must fail with a text that contains @text. */
void vfio_user_test_qmp_error(VFIOUserTestVM *vm, const char *text,
                              const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/*
 * query-status must say @status ("running"), soon: a migration is over before
 * the VM is where it ends.
 */
void vfio_user_test_assert_status(VFIOUserTestVM *vm, const char *status);

/* A property of dev0 must be @expected: a string itself, others as JSON. */
void vfio_user_test_assert_property(VFIOUserTestVM *vm, const char *name,
                                    const char *expected);

/*
 * Let QEMU's main loop do what it has been given to do. Its answer to one
 * command may overtake a bottom half, that to the next one cannot.
 */
void vfio_user_test_settle(VFIOUserTestVM *vm);

/*
 * QEMU, which is started between these two, gets a fake of KVM. Returns what is
 * to be on its command line: it takes what the fake offers, which is not much.
 */
const char *vfio_user_test_begin_kvm(VFIOUserTestVM *vm);
void vfio_user_test_end_kvm(void);

/* Whatever a test looks at, KVM has seen nothing wrong. Fine without KVM. */
void vfio_user_test_assert_kvm_content(VFIOUserTestVM *vm);

/*
 * What the fake of KVM saw must go on with @expected, "ADD MSI 400000=100, SEND
 * MSI 400000=100", and with nothing else. Waits for as many lines.
 */
void vfio_user_test_assert_kvm(VFIOUserTestVM *vm, const char *expected);

/*
 * The accesses to device_state from journal entry @from on as a text: "R" for
 * a read, "W3" for a write of 3, "W3!" for one that was refused. Free with
 * g_free().
 */
char *vfio_user_test_states(VFIOUserTestVM *vm, unsigned from);

/* The same, with "RESET" for each reset. Free with g_free(). */
char *vfio_user_test_story(VFIOUserTestVM *vm, unsigned from);

/*
 * The same, with "IRQS", "MAP" and "UNMAP" for one or more interrupt set-ups,
 * mappings and unmappings in a row. Free with g_free().
 */
char *vfio_user_test_whole_story(VFIOUserTestVM *vm, unsigned from);

/*
 * Number of replies from journal entry @from on by which the server refused
 * what it was asked (EINVAL; a script has other errors).
 */
unsigned vfio_user_test_count_refusals(VFIOUserTestVM *vm, unsigned from);

/*
 * The same as vfio_user_test_states(), compared; moves vm->mark to the end of
 * the journal.
 */
void vfio_user_test_assert_states(VFIOUserTestVM *vm, const char *expected);

/*
 * Number of writes to device_state from journal entry @from on, where it held
 * @value, that wrote the value which was there already.
 */
unsigned vfio_user_test_redundant_writes(VFIOUserTestVM *vm, unsigned from,
                                         uint32_t value);

/* The same for any server. */
unsigned vfio_user_test_server_redundant_writes(Mock *mock, unsigned from,
                                                uint32_t value);

/*
 * What @to loaded is what @from saved, and complete. Returns how many bytes.
 */
uint64_t vfio_user_test_assert_moved(Mock *from, Mock *to);

/* Steps of an expected journal; see mock_journal_expect(). */
typedef struct VFIOUserTestSequence {
    const MockPattern *filter;
    size_t num_filter;
    const MockStep *steps;
    size_t num_steps;
} VFIOUserTestSequence;

#define VFIO_USER_TEST_SEQUENCE(f, s) \
    { .filter = (f), .num_filter = G_N_ELEMENTS(f), \
      .steps = (s), .num_steps = G_N_ELEMENTS(s) }

/* The journal from entry @from on must match; nothing to do without steps. */
void vfio_user_test_assert_sequence(VFIOUserTestVM *vm, unsigned from,
                                    const VFIOUserTestSequence *sequence);

/* Two VMs with a migration between them */
typedef struct VFIOUserTestPair {
    VFIOUserTestVM *source;
    VFIOUserTestVM *destination;        /* NULL where there is none */
    GHashTable *pages;          /* address to pattern: what devices wrote */
    unsigned fds;               /* the source's before the migration */
    unsigned threads;
} VFIOUserTestPair;

/*
 * Let the source's device write a page of guest memory (bytes of value
 * @pattern at @address), to be found at the destination after a migration. It
 * writes by message where it has no mapping of the memory.
 */
void vfio_user_test_dirty_page(VFIOUserTestPair *pair, uint64_t address,
                               uint8_t pattern);

/* Give the source's device what the destination's is to have in the end. */
void vfio_user_test_fill_device(VFIOUserTestPair *pair);

/*
 * A moment of the migration: the source's server holds back the nth message
 * that matches, counted from the start of the migration, while @act runs.
 */
typedef struct VFIOUserTestMoment {
    MockPattern where;
    unsigned nth;
    void (*act)(VFIOUserTestPair *pair);
    void (*then)(VFIOUserTestPair *pair);       /* Optional: after that */
} VFIOUserTestMoment;

#define VFIO_USER_TEST_MAX_MOMENTS 3
#define VFIO_USER_TEST_MAX_RULES 4

typedef enum VFIOUserTestResult {
    VFIO_USER_TEST_COMPLETED,
    VFIO_USER_TEST_FAILED,      /* query-migrate says so */
    VFIO_USER_TEST_CANCELLED,
    VFIO_USER_TEST_REFUSED,     /* the command migrate fails */
} VFIOUserTestResult;

/*
 * A migration test. After a migration that completed, the destination's guest
 * runs, and its memory and device are the source's. After any other the
 * source's guest runs with a running device and as many fds and threads as
 * before, and a second migration, to a new destination and without script,
 * completes (unless REFUSED).
 */
typedef struct VFIOUserMigrationTest {
    /* Script. Optional; without, both servers behave as libvfio-user v1 does */
    MockBehaviour behaviour;
    bool no_migration;          /* the source's server has no such region */
    bool private_ram;           /* guest memory not to be shared, both sides */
    bool twin_socket;           /* both servers have one for their commands */
    bool mapped;                /* both servers let device data be mapped */
    MockRule source_rules[VFIO_USER_TEST_MAX_RULES];    /* up to action NONE */
    MockRule destination_rule;
    const char *device;         /* properties, on both sides */
    const char *uri;            /* migrate to there; there is no destination */
    bool return_path;           /* the source waits for the destination */
    const char *capability;     /* at the source, for the first migration */
    uint64_t bandwidth;         /* bytes per second; 0: QEMU's default */
    VFIOUserTestMoment moments[VFIO_USER_TEST_MAX_MOMENTS];

    /* Expected journal, after realize. States are Required. */
    const char *source_states;
    const char *destination_states;     /* NULL without a destination */
    VFIOUserTestSequence source_data;
    VFIOUserTestSequence source_dirty;
    VFIOUserTestSequence destination_data;
    unsigned redundant_writes;          /* at the source */

    /* Expected result */
    VFIOUserTestResult result;
    const char *error;          /* part of it; Required if REFUSED */
    const char *destination_error;      /* part of what QEMU says there */
    bool stopped;               /* the guest is, at both ends, until a cont */
} VFIOUserMigrationTest;

/* Turn a migration capability on or off. */
void vfio_user_test_set_capability(VFIOUserTestVM *vm, const char *name,
                                   bool on);

/* In bytes per second, 0 for no limit, and milliseconds. */
void vfio_user_test_set_speed(VFIOUserTestVM *vm, int64_t bandwidth,
                              int64_t downtime);

/*
 * Wait until query-migrate says @status. Returns what it says; free with
 * qobject_unref().
 */
QDict *vfio_user_test_wait_migration(VFIOUserTestVM *vm, const char *status);

/*
 * Migrate, and wait until the guest runs at @destination. Returns how many
 * bytes of device data query-migrate has counted.
 */
int64_t vfio_user_test_migrate_to(VFIOUserTestVM *source,
                                  VFIOUserTestVM *destination);

/* query-migrate's error-desc must contain @text. */
void vfio_user_test_assert_error_desc(VFIOUserTestVM *vm, const char *text);

/* Run a VFIOUserMigrationTest; to be registered with vfio_user_test_add(). */
void vfio_user_test_migration(const void *data);

/*
 * When all tests have run: write the table of what servers were told in each
 * scenario, as reStructuredText, to the file that VFIO_USER_TEST_SCENARIOS
 * names. Nothing without it, or without scenarios.
 */
void vfio_user_test_write_scenarios(void);

#endif /* TESTS_QTEST_VFIO_USER_FRAMEWORK_H */
