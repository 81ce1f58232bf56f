/*
 * A QEMU with the mock server behind its device, watched by a deadline; QMP
 * and journal checks for the vfio-user qtests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"
#include "child-env.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qstring.h"
#include "qemu/cutils.h"
#include <sys/wait.h>

/* --- the watchdog, and what is said when a test fails --- */

typedef struct Watchdog {
    GMutex lock;
    GCond changed;
    GPtrArray *vms;             /* of VFIOUserTestVM, guarded by lock */
    pid_t child;                /* one more to kill, guarded by lock */
    gint64 deadline;            /* of the newest VM, guarded by lock */
    bool done;                  /* guarded by lock */
} Watchdog;

static Watchdog watchdog;

static gint64 watchdog_deadline(void)
{
    return g_get_monotonic_time() +
           VFIO_USER_TEST_WATCHDOG_MS * G_TIME_SPAN_MILLISECOND;
}

/* Called when the test aborts: a red test explains itself. */
static void dump_journals(void *opaque)
{
    Watchdog *dog = opaque;
    guint i;

    for (i = 0; i < dog->vms->len; i++) {
        VFIOUserTestVM *vm = g_ptr_array_index(dog->vms, i);

        fprintf(stderr, "--- %s (realized up to entry %u)\n", vm->name,
                vm->mark);
        mock_journal_dump(vm->mock, 0);
    }
}

/*
 * A QEMU that hangs keeps the test waiting for its answer. Without QEMU the
 * wait ends, and the test fails where it stands.
 */
static gpointer watchdog_run(gpointer opaque)
{
    Watchdog *dog = opaque;
    guint i;

    g_mutex_lock(&dog->lock);
    while (!dog->done) {
        if (g_cond_wait_until(&dog->changed, &dog->lock, dog->deadline) ||
            g_get_monotonic_time() < dog->deadline) {
            continue;
        }
        fprintf(stderr, "the test takes too long: killing its QEMUs\n");
        for (i = 0; i < dog->vms->len; i++) {
            VFIOUserTestVM *vm = g_ptr_array_index(dog->vms, i);

            if (vm->pid > 0) {
                kill(vm->pid, SIGKILL);
            }
        }
        if (dog->child) {
            kill(dog->child, SIGKILL);
        }
        dog->deadline = G_MAXINT64;
    }
    g_mutex_unlock(&dog->lock);
    return NULL;
}

void vfio_user_test_prolong(void)
{
    g_mutex_lock(&watchdog.lock);
    watchdog.deadline = watchdog_deadline();
    g_mutex_unlock(&watchdog.lock);
}

/* Dump before QEMU is killed: handlers are called last added first. */
static void watchdog_add(VFIOUserTestVM *vm)
{
    if (watchdog.vms->len) {
        qtest_remove_abrt_handler(&watchdog);
    }
    g_mutex_lock(&watchdog.lock);
    g_ptr_array_add(watchdog.vms, vm);
    g_mutex_unlock(&watchdog.lock);
    vfio_user_test_prolong();
    qtest_add_abrt_handler(dump_journals, &watchdog);
}

static void watchdog_remove(VFIOUserTestVM *vm)
{
    g_mutex_lock(&watchdog.lock);
    g_ptr_array_remove(watchdog.vms, vm);
    g_mutex_unlock(&watchdog.lock);
    if (!watchdog.vms->len) {
        qtest_remove_abrt_handler(&watchdog);
    }
}

/* Entries of a folder that /proc has for the process */
static unsigned count_entries(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", pid ?: getpid(),
                                            name);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    return count;
}

unsigned vfio_user_test_count_fds(pid_t pid)
{
    return count_entries(pid, "fd");
}

unsigned vfio_user_test_count_threads(pid_t pid)
{
    return count_entries(pid, "task");
}

typedef struct RegisteredTest {
    void (*run)(const void *data);
    const void *data;
} RegisteredTest;

static void run_registered(const void *opaque)
{
    const RegisteredTest *test = opaque;
    unsigned fds = vfio_user_test_count_fds(0);
    GThread *thread;

    watchdog.done = false;
    watchdog.deadline = watchdog_deadline();
    watchdog.vms = g_ptr_array_new();
    thread = g_thread_new("watchdog", watchdog_run, &watchdog);

    test->run(test->data);

    g_mutex_lock(&watchdog.lock);
    watchdog.done = true;
    g_cond_signal(&watchdog.changed);
    g_mutex_unlock(&watchdog.lock);
    g_thread_join(thread);
    g_ptr_array_unref(watchdog.vms);
    g_assert_cmpuint(vfio_user_test_count_fds(0), ==, fds);
}

void vfio_user_test_add(const char *path, void (*run)(const void *data),
                        const void *data)
{
    RegisteredTest *test = g_new(RegisteredTest, 1);

    *test = (RegisteredTest) { .run = run, .data = data };
    child_env_init();
    qtest_add_data_func_full(path, test, run_registered, g_free);
}

/* --- a QEMU and its server --- */

static void vm_start_mock(VFIOUserTestVM *vm, const MockConfig *config)
{
    g_autoptr(GError) error = NULL;
    MockConfig defaults;

    mock_config_init(&defaults);
    vm->mock = mock_new(config ?: &defaults, &error);
    g_assert_no_error(error);
    mock_start(vm->mock, vm->socket_path, &error);
    g_assert_no_error(error);
}

void vfio_user_test_vm_restart_mock(VFIOUserTestVM *vm,
                                    const MockConfig *config)
{
    mock_free(vm->mock);
    vm_start_mock(vm, config);
    vm->mark = 0;
}

static void vm_start_qemu(VFIOUserTestVM *vm,
                          const VFIOUserTestVMConfig *config)
{
    unsigned ram_size = config->ram_size ?: VFIO_USER_TEST_RAM_SIZE;
    g_autofree char *device = NULL, *incoming = NULL, *pid = NULL;
    const char *kvm = config->kvm ? vfio_user_test_begin_kvm(vm) : "";
    g_autofree char *errors = vm->errors_path ?
                              g_strdup_printf("2>%s", vm->errors_path) : NULL;

    device = config->no_device ? g_strdup("") :
        g_strdup_printf("-device vfio-user-pci,id=dev0,addr=%d.0,socket=%s%s%s",
                        VFIO_USER_TEST_DEVICE_SLOT, vm->socket_path,
                        config->device ? "," : "", config->device ?: "");
    incoming = config->incoming ?
               g_strdup_printf("-incoming unix:%s", vm->migration_path) :
               g_strdup("");
    vm->qts = qtest_initf("-machine %s,memory-backend=ram -m %uM -object "
                          "memory-backend-memfd,share=%s,id=ram,size=%u "
                          "-nodefaults -pidfile %s %s %s %s %s %s %s",
                          config->machine ?: "q35", ram_size / (1024 * 1024),
                          config->private_ram ? "off" : "on", ram_size,
                          vm->pid_path, config->early_options ?: "", device,
                          incoming, config->options ?: "", kvm, errors ?: "");
    if (config->kvm) {
        vfio_user_test_end_kvm();
    }
    g_assert_true(g_file_get_contents(vm->pid_path, &pid, NULL, NULL));
    vm->pid = atoi(pid);
    g_assert_cmpint(vm->pid, >, 0);
}

VFIOUserTestVM *vfio_user_test_vm_new(const VFIOUserTestVMConfig *config)
{
    VFIOUserTestVM *vm = g_new0(VFIOUserTestVM, 1);

    vm->name = g_strdup(config->name);
    vm->dir = g_dir_make_tmp("vfio-user-test-XXXXXX", NULL);
    g_assert_nonnull(vm->dir);
    vm->socket_path = g_build_filename(vm->dir, "device", NULL);
    vm->migration_path = g_build_filename(vm->dir, "migration", NULL);
    vm->pid_path = g_build_filename(vm->dir, "pid", NULL);
    if (config->keep_errors) {
        vm->errors_path = g_build_filename(vm->dir, "errors", NULL);
    }
    vm->kvm_path = g_build_filename(vm->dir, "kvm", NULL);
    vm_start_mock(vm, config->mock);
    vm_start_qemu(vm, config);
    watchdog_add(vm);
    vm->mark = mock_journal_length(vm->mock);
    return vm;
}

void vfio_user_test_vm_quit(VFIOUserTestVM *vm)
{
    if (vm->qts) {
        vm->pid = 0;
        qtest_quit(vm->qts);
        vm->qts = NULL;
    }
}

void vfio_user_test_vm_restart(VFIOUserTestVM *vm,
                               const VFIOUserTestVMConfig *config)
{
    g_assert_null(vm->qts);
    vm_start_qemu(vm, config);
    vfio_user_test_prolong();
    vm->mark = mock_journal_length(vm->mock);
}

void vfio_user_test_vm_kill(VFIOUserTestVM *vm)
{
    kill(vm->pid, SIGKILL);
    g_assert_cmpint(waitpid(vm->pid, NULL, 0), ==, vm->pid);
    /* libqtest only finds that there is no such child any more */
    g_assert_false(qtest_probe_child(vm->qts));
    vfio_user_test_vm_quit(vm);
}

void vfio_user_test_vm_wait_exit(VFIOUserTestVM *vm, int status)
{
    siginfo_t info;

    g_assert_cmpint(waitid(P_PID, vm->pid, &info, WEXITED | WNOWAIT), ==, 0);
    g_assert_false(qtest_probe_child(vm->qts));
    qtest_set_expected_status(vm->qts, status);
    vfio_user_test_vm_quit(vm);
}

void vfio_user_test_vm_free(VFIOUserTestVM *vm)
{
    if (!vm) {
        return;
    }
    vfio_user_test_vm_quit(vm);
    watchdog_remove(vm);
    mock_free(vm->mock);
    unlink(vm->migration_path);
    unlink(vm->pid_path);
    if (vm->errors_path) {
        unlink(vm->errors_path);
    }
    vfio_user_test_assert_kvm_content(vm);
    unlink(vm->kvm_path);
    g_assert_cmpint(rmdir(vm->dir), ==, 0);
    g_free(vm->name);
    g_free(vm->dir);
    g_free(vm->socket_path);
    g_free(vm->migration_path);
    g_free(vm->pid_path);
    g_free(vm->errors_path);
    g_free(vm->kvm_path);
    g_free(vm);
}

char *vfio_user_test_errors(VFIOUserTestVM *vm)
{
    char *errors = NULL;

    g_assert_true(g_file_get_contents(vm->errors_path, &errors, NULL, NULL));
    return errors;
}

static void watchdog_set_child(pid_t pid)
{
    g_mutex_lock(&watchdog.lock);
    watchdog.child = pid;
    g_mutex_unlock(&watchdog.lock);
}

int vfio_user_test_run_qemu(const char *args, char **errors)
{
    g_autofree char *command = g_strdup_printf("exec %s %s",
                                               getenv("QTEST_QEMU_BINARY"),
                                               args);
    char *argv[] = { (char *)"/bin/sh", (char *)"-c", command, NULL };
    g_autoptr(GError) error = NULL;
    g_autoptr(GIOChannel) channel = NULL;
    int fd, status;
    GPid pid;

    g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                             NULL, &pid, NULL, NULL, &fd, &error);
    g_assert_no_error(error);
    watchdog_set_child(pid);
    channel = g_io_channel_unix_new(fd);
    g_io_channel_set_close_on_unref(channel, true);
    g_io_channel_set_encoding(channel, NULL, NULL);
    g_io_channel_read_to_end(channel, errors, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    watchdog_set_child(0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* --- QMP --- */

void vfio_user_test_qmp(VFIOUserTestVM *vm, const char *fmt, ...)
{
    QDict *answer;
    va_list list;

    va_start(list, fmt);
    answer = qtest_vqmp(vm->qts, fmt, list);
    va_end(list);
    if (qdict_haskey(answer, "error")) {
        vfio_user_test_fail("%s: %s: %s", vm->name, fmt,
                            qdict_get_str(qdict_get_qdict(answer, "error"),
                                          "desc"));
    }
    qobject_unref(answer);
}

void vfio_user_test_qmp_error(VFIOUserTestVM *vm, const char *text,
                              const char *fmt, ...)
{
    const char *desc;
    QDict *answer;
    va_list list;

    va_start(list, fmt);
    answer = qtest_vqmp(vm->qts, fmt, list);
    va_end(list);
    if (!qdict_haskey(answer, "error")) {
        vfio_user_test_fail("%s: %s: has not failed", vm->name, fmt);
    }
    desc = qdict_get_str(qdict_get_qdict(answer, "error"), "desc");
    if (!strstr(desc, text)) {
        vfio_user_test_fail("%s: the error does not contain \"%s\": %s",
                            vm->name, text, desc);
    }
    qobject_unref(answer);
}

static char *query_status(VFIOUserTestVM *vm)
{
    QDict *answer = qtest_qmp(vm->qts, "{'execute': 'query-status'}");
    char *status = g_strdup(qdict_get_str(qdict_get_qdict(answer, "return"),
                                          "status"));

    qobject_unref(answer);
    return status;
}

void vfio_user_test_assert_status(VFIOUserTestVM *vm, const char *status)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
    g_autofree char *now = query_status(vm);

    while (!g_str_equal(now, status) && g_get_monotonic_time() < deadline) {
        g_free(now);
        now = query_status(vm);
    }
    g_assert_cmpstr(now, ==, status);
}

void vfio_user_test_assert_property(VFIOUserTestVM *vm, const char *name,
                                    const char *expected)
{
    QDict *answer = qtest_qmp(vm->qts, "{'execute': 'qom-get', 'arguments':"
                              " {'path': '/machine/peripheral/dev0',"
                              "  'property': %s}}", name);
    QObject *value = qdict_get(answer, "return");
    g_autoptr(GString) text = NULL;

    text = qobject_type(value) == QTYPE_QSTRING ?
           g_string_new(qstring_get_str(qobject_to(QString, value))) :
           qobject_to_json(value);
    g_assert_cmpstr(text->str, ==, expected);
    qobject_unref(answer);
}

void vfio_user_test_settle(VFIOUserTestVM *vm)
{
    vfio_user_test_qmp(vm, "{'execute': 'query-status'}");
    vfio_user_test_qmp(vm, "{'execute': 'query-status'}");
}

static bool wait_count(VFIOUserTestVM *vm, unsigned (*count)(pid_t pid),
                       unsigned number)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;

    while (count(vm->pid) != number) {
        if (g_get_monotonic_time() >= deadline) {
            return false;
        }
        vfio_user_test_settle(vm);
    }
    return true;
}

bool vfio_user_test_wait_fds(VFIOUserTestVM *vm, unsigned fds)
{
    return wait_count(vm, vfio_user_test_count_fds, fds);
}

bool vfio_user_test_wait_threads(VFIOUserTestVM *vm, unsigned threads)
{
    return wait_count(vm, vfio_user_test_count_threads, threads);
}
