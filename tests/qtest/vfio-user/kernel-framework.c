/*
 * A QEMU with a fake kernel behind vfio-pci, watched by a deadline, and the
 * comparison of that kernel's journal with what a test expects.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "kernel-framework.h"
#include "preload.h"
#include "qapi/qmp/qdict.h"
#include <sys/wait.h>

#define MAX_VMS 4

/* --- the watchdog, and what is said when a test fails --- */

static KernelTestVM *vms[MAX_VMS];
static pid_t pids[MAX_VMS];     /* these are the signal handler's, too */
static bool expired;

/*
 * A QEMU that hangs keeps the test waiting for its answer. Without QEMU the
 * wait ends, and the test fails where it stands; or else it ends here, and
 * what is left of its QEMUs with it.
 */
static void watchdog_expired(int signal)
{
    static const char text[] = "the test takes too long: killing its QEMUs\n";
    ssize_t ignored;
    int i;

    if (qatomic_xchg(&expired, true)) {
        _exit(1);
    }
    ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
    for (i = 0; i < MAX_VMS; i++) {
        pid_t pid = qatomic_read(&pids[i]);

        if (pid > 0) {
            kill(pid, SIGKILL);
        }
    }
    alarm(5);
}

static void show_journal(const KernelTestVM *vm)
{
    g_autofree char *text = NULL;

    if (g_file_get_contents(vm->journal, &text, NULL, NULL)) {
        g_strdelimit(text, "\n", ' ');
        fprintf(stderr, "--- %s, the whole journal: %s\n", vm->name, text);
    }
}

static void remove_files(KernelTestVM *vm)
{
    static const char *const links[] = { "iommu_group", "subsystem" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(links); i++) {
        g_autofree char *path = g_build_filename(vm->sysfs, links[i], NULL);

        unlink(path);
    }
    rmdir(vm->sysfs);
    unlink(vm->journal);
    unlink(vm->gate);
    unlink(vm->migration);
    unlink(vm->pid_path);
    rmdir(vm->dir);
}

/* Called when the test aborts: a red test explains itself, and cleans up. */
static void test_aborted(void *opaque)
{
    int i;

    for (i = 0; i < MAX_VMS; i++) {
        if (vms[i]) {
            show_journal(vms[i]);
            remove_files(vms[i]);
        }
    }
}

static int find_slot(const KernelTestVM *vm)
{
    int i = 0;

    while (i < MAX_VMS && vms[i] != vm) {
        i++;
    }
    g_assert_cmpint(i, <, MAX_VMS);
    return i;
}

static void set_pid(KernelTestVM *vm, pid_t pid)
{
    vm->pid = pid;
    qatomic_set(&pids[find_slot(vm)], pid);
}

/* Handlers are called last added first, this one before QEMUs are killed */
static void show_when_aborted(KernelTestVM *vm)
{
    qtest_remove_abrt_handler(vm);
    qtest_add_abrt_handler(test_aborted, vm);
}

static void watch(KernelTestVM *vm)
{
    vms[find_slot(NULL)] = vm;
    qtest_add_abrt_handler(test_aborted, vm);
}

static void unwatch(KernelTestVM *vm)
{
    vms[find_slot(vm)] = NULL;
    qtest_remove_abrt_handler(vm);
}

typedef struct RegisteredTest {
    void (*run)(const void *data);
    const void *data;
} RegisteredTest;

static void run_registered(const void *opaque)
{
    const RegisteredTest *test = opaque;
    struct sigaction action = {
        .sa_handler = watchdog_expired,
        .sa_flags = SA_RESTART,
    };

    g_assert_cmpint(sigaction(SIGALRM, &action, NULL), ==, 0);
    alarm(KERNEL_TEST_WATCHDOG_S);
    test->run(test->data);
    alarm(0);
}

void kernel_test_add(const char *path, void (*run)(const void *data),
                     const void *data)
{
    RegisteredTest *test = g_new(RegisteredTest, 1);

    *test = (RegisteredTest) { .run = run, .data = data };
    qtest_add_data_func_full(path, test, run_registered, g_free);
}

/* --- a QEMU and its kernel --- */

/* What vfio-pci looks for in sysfs: the group, and no mediated device */
static void make_sysfs(KernelTestVM *vm)
{
    g_autofree char *group = NULL, *subsystem = NULL, *target = NULL;

    g_assert_cmpint(mkdir(vm->sysfs, 0700), ==, 0);
    group = g_build_filename(vm->sysfs, "iommu_group", NULL);
    subsystem = g_build_filename(vm->sysfs, "subsystem", NULL);
    target = g_strdup_printf("../kernel/iommu_groups/%d", FAKE_KERNEL_GROUP);
    g_assert_cmpint(symlink(target, group), ==, 0);
    g_assert_cmpint(symlink("../bus/pci", subsystem), ==, 0);
}

static void vm_start_qemu(KernelTestVM *vm, const KernelTestVMConfig *config)
{
    g_autofree char *incoming = NULL, *pid = NULL;

    incoming = config->incoming ?
               g_strdup_printf("-incoming unix:%s", vm->migration) :
               g_strdup("");
    g_setenv(FAKE_KERNEL_GATE, vm->gate, true);
    g_setenv(FAKE_KERNEL_BEHAVIOUR, config->behaviour ?: "", true);
    preload_begin(vm->journal);
    vm->qts = qtest_initf("-machine %s -m %dM -nodefaults -pidfile %s %s %s "
                          "-device vfio-pci,id=dev0,addr=%d.0,sysfsdev=%s,"
                          "x-enable-migration=on%s%s",
                          config->machine ?: "q35",
                          KERNEL_TEST_RAM_SIZE / (1024 * 1024), vm->pid_path,
                          incoming, config->paused ? "-S" : "",
                          KERNEL_TEST_DEVICE_SLOT, vm->sysfs,
                          config->device ? "," : "", config->device ?: "");
    preload_end();
    g_assert_true(g_file_get_contents(vm->pid_path, &pid, NULL, NULL));
    set_pid(vm, atoi(pid));
    g_assert_cmpint(vm->pid, >, 0);
}

KernelTestVM *kernel_test_vm_new(const KernelTestVMConfig *config)
{
    KernelTestVM *vm = g_new0(KernelTestVM, 1);

    vm->name = config->name;
    vm->dir = g_dir_make_tmp("vfio-kernel-test-XXXXXX", NULL);
    g_assert_nonnull(vm->dir);
    vm->sysfs = g_build_filename(vm->dir, KERNEL_TEST_DEVICE, NULL);
    vm->journal = g_build_filename(vm->dir, "journal", NULL);
    vm->gate = g_build_filename(vm->dir, "gate", NULL);
    vm->migration = g_build_filename(vm->dir, "migration", NULL);
    vm->pid_path = g_build_filename(vm->dir, "pid", NULL);
    make_sysfs(vm);
    vm->gate_fd = -1;
    if (config->gate) {
        g_assert_cmpint(mkfifo(vm->gate, 0600), ==, 0);
        vm->gate_fd = open(vm->gate, O_RDWR | O_CLOEXEC);
        g_assert_cmpint(vm->gate_fd, >=, 0);
    }
    watch(vm);
    vm_start_qemu(vm, config);
    show_when_aborted(vm);
    kernel_test_assert_journal(vm, config->start ?: "R 1, RESET");
    return vm;
}

static void vm_quit(KernelTestVM *vm)
{
    if (vm->qts) {
        qtest_quit(vm->qts);
        vm->qts = NULL;
        set_pid(vm, 0);
    }
}

void kernel_test_vm_wait_exit(KernelTestVM *vm, int status)
{
    siginfo_t info;

    g_assert_cmpint(waitid(P_PID, vm->pid, &info, WEXITED | WNOWAIT), ==, 0);
    g_assert_false(qtest_probe_child(vm->qts));
    qtest_set_expected_status(vm->qts, status);
    vm_quit(vm);
}

/* What comes when QEMU ends is not looked at, but has to be right */
static void assert_clean(KernelTestVM *vm)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(vm->journal, &text, NULL, NULL));
    if (strstr(text, "BAD")) {
        kernel_test_fail("%s: the kernel has a complaint", vm->name);
    }
}

void kernel_test_vm_free(KernelTestVM *vm)
{
    if (!vm) {
        return;
    }
    vm_quit(vm);
    assert_clean(vm);
    unwatch(vm);
    if (vm->gate_fd >= 0) {
        close(vm->gate_fd);
    }
    remove_files(vm);
    g_assert_false(g_file_test(vm->dir, G_FILE_TEST_EXISTS));
    g_free(vm->dir);
    g_free(vm->sysfs);
    g_free(vm->journal);
    g_free(vm->gate);
    g_free(vm->migration);
    g_free(vm->pid_path);
    g_free(vm);
}

void kernel_test_open_gate(KernelTestVM *vm)
{
    g_assert_cmpint(write(vm->gate_fd, "", 1), ==, 1);
}

/* --- QMP --- */

void kernel_test_qmp(KernelTestVM *vm, const char *fmt, ...)
{
    QDict *answer;
    va_list list;

    va_start(list, fmt);
    answer = qtest_vqmp(vm->qts, fmt, list);
    va_end(list);
    if (qdict_haskey(answer, "error")) {
        kernel_test_fail("%s: %s: %s", vm->name, fmt,
                         qdict_get_str(qdict_get_qdict(answer, "error"),
                                       "desc"));
    }
    qobject_unref(answer);
}

void kernel_test_settle(KernelTestVM *vm)
{
    kernel_test_qmp(vm, "{'execute': 'query-status'}");
    kernel_test_qmp(vm, "{'execute': 'query-status'}");
}

static gint64 new_deadline(void)
{
    return g_get_monotonic_time() +
           KERNEL_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
}

void kernel_test_wait_status(KernelTestVM *vm, const char *status)
{
    gint64 deadline = new_deadline();
    g_autofree char *seen = NULL;

    do {
        QDict *answer = qtest_qmp(vm->qts, "{'execute': 'query-status'}");

        g_free(seen);
        seen = g_strdup(qdict_get_str(qdict_get_qdict(answer, "return"),
                                      "status"));
        qobject_unref(answer);
    } while (strcmp(seen, status) && g_get_monotonic_time() < deadline);
    g_assert_cmpstr(seen, ==, status);
}

/* --- the journal --- */

void kernel_test_assert_journal(KernelTestVM *vm, const char *expected)
{
    gint64 deadline = new_deadline();
    unsigned count = preload_count_lines(expected);
    g_autofree char *lines = NULL;
    size_t end;

    do {
        g_free(lines);
        if (vm->qts) {
            kernel_test_settle(vm);
        }
        lines = preload_journal(vm->journal, vm->seen, &end);
    } while (vm->qts && preload_count_lines(lines) < count &&
             g_get_monotonic_time() < deadline);
    g_test_message("%s: %s", vm->name, lines);
    if (strcmp(lines, expected)) {
        kernel_test_fail("%s: the kernel saw \"%s\" instead of \"%s\"",
                         vm->name, lines, expected);
    }
    vm->seen = end;
}
