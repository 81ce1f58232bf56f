/*
 * Migration streams that are not what a source has sent: the destination ends
 * with an error that names the device, whatever it was told.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"
#include "qapi/qmp/qdict.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"

/* What parts of a device's section begin with */
#define TAG_END 0xffffffffef100001ull
#define TAG_CONFIG 0xffffffffef100002ull
#define TAG_SETUP 0xffffffffef100003ull
#define TAG_DATA 0xffffffffef100004ull

/*
 * A stream of which @value is written over the eight bytes that are @offset
 * from the first @tag (behind @after, if there is one); or that ends there,
 * with @cut.
 */
typedef struct StreamTest {
    const char *path;
    uint64_t tag;
    unsigned offset;
    uint64_t after;
    uint64_t value;
    bool cut;
    const char *error;          /* part of what QEMU says, behind "dev0: " */
} StreamTest;

static const StreamTest stream_tests[] = {
    { "unknown-tag", TAG_SETUP, 0, .value = 0xffffffffef1000ff,
      .error = "Unknown tag 0xffffffffef1000ff" },
    { "tag-of-another-device", TAG_DATA, 0, .value = 0x0102030405060708,
      .error = "Unknown tag 0x102030405060708" },
    { "setup-without-end", TAG_SETUP, 8, .value = TAG_DATA,
      .error = "SETUP STATE: EOS not found 0xffffffffef100004" },
    { "setup-cut", TAG_SETUP, 8, .cut = true,
      .error = "SETUP STATE: EOS not found 0x0" },
    { "size-0", TAG_DATA, 8, .value = 0, .error = "Unknown tag 0x" },
    { "size-1", TAG_DATA, 8, .value = 1, .error = "Unknown tag 0x" },
    { "size-beyond-the-stream", TAG_DATA, 8, .value = 1ull << 40,
      .error = "device data ends early" },
    { "size-huge", TAG_DATA, 8, .value = UINT64_MAX,
      .error = "device data ends early" },
    { "size-cut", TAG_DATA, 8, .cut = true,
      .error = "device data ends early" },
    { "data-cut", TAG_DATA, 1000, .cut = true,
      .error = "device data ends early" },
    { "config-version", TAG_CONFIG, 8, .value = UINT64_MAX,
      .error = "Failed to load device config space" },
    { "config-without-end", TAG_END, 0, .after = TAG_CONFIG,
      .value = TAG_SETUP,
      .error = "Failed loading device config space, end flag incorrect "
               "0xffffffffef100003" },
    { "config-cut", TAG_CONFIG, 100, .cut = true,
      .error = "Failed to load device config space" },
};

/* --- a stream to begin with --- */

static void stream_config(MockConfig *mock, bool incoming)
{
    mock_config_init(mock);
    mock->seed = incoming ? 2 : 1;
}

/* Taken from a source once, for all tests */
static const GString *real_stream(void)
{
    static GString *stream;
    MockConfig mock;
    VFIOUserTestVMConfig config = { .name = "source", .mock = &mock };
    g_autoptr(VFIOUserTestVM) vm = NULL;
    g_autofree char *path = NULL, *uri = NULL, *bytes = NULL;
    gsize size;

    if (stream) {
        return stream;
    }
    stream_config(&mock, false);
    vm = vfio_user_test_vm_new(&config);
    path = g_build_filename(vm->dir, "stream", NULL);
    uri = g_strdup_printf("exec:cat > %s", path);
    vfio_user_test_qmp(vm, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    qobject_unref(vfio_user_test_wait_migration(vm, "completed"));
    vfio_user_test_assert_states(vm, "W3 W2 W0");
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    g_assert_cmpint(unlink(path), ==, 0);
    stream = g_string_new_len(bytes, size);
    return stream;
}

/* Where the part begins that has this tag, at @from or later */
static size_t find_tag(const GString *stream, size_t from, uint64_t tag)
{
    uint64_t wanted = cpu_to_be64(tag);
    const char *found = memmem(stream->str + from, stream->len - from, &wanted,
                               sizeof(wanted));

    g_assert_nonnull(found);
    return found - stream->str;
}

static char *write_stream(const GString *stream)
{
    GError *error = NULL;
    char *path;
    int fd = g_file_open_tmp("vfio-user-test-XXXXXX", &path, &error);

    g_assert_no_error(error);
    g_assert_cmpint(qemu_write_full(fd, stream->str, stream->len), ==,
                    stream->len);
    close(fd);
    return path;
}

/* --- what a destination makes of it --- */

/* Returns QEMU's exit status. */
static int load_stream(const char *stream, char **errors)
{
    g_autofree char *dir = g_dir_make_tmp("vfio-user-test-XXXXXX", NULL);
    g_autofree char *socket_path = g_build_filename(dir, "device", NULL);
    g_autofree char *args = NULL;
    GError *error = NULL;
    MockConfig config;
    Mock *mock;
    int status;

    stream_config(&config, true);
    mock = mock_new(&config, &error);
    g_assert_no_error(error);
    mock_start(mock, socket_path, &error);
    g_assert_no_error(error);
    args = g_strdup_printf("-accel qtest -display none -nodefaults "
                           "-machine q35,memory-backend=ram -m %dM "
                           "-object memory-backend-memfd,id=ram,size=%d,share=on"
                           " -device vfio-user-pci,id=dev0,addr=%d.0,socket=%s"
                           " -incoming \"exec:cat %s\"",
                           VFIO_USER_TEST_RAM_SIZE / (1024 * 1024),
                           VFIO_USER_TEST_RAM_SIZE,
                           VFIO_USER_TEST_DEVICE_SLOT, socket_path, stream);
    status = vfio_user_test_run_qemu(args, errors);
    mock_free(mock);
    g_assert_cmpint(rmdir(dir), ==, 0);
    return status;
}

static void test_stream(const void *data)
{
    const StreamTest *test = data;
    const GString *real = real_stream();
    g_autoptr(GString) stream = g_string_new_len(real->str, real->len);
    size_t from = test->after ? find_tag(stream, 0, test->after) : 0;
    size_t at = find_tag(stream, from, test->tag) + test->offset;
    g_autofree char *path = NULL, *errors = NULL, *error = NULL;
    int status;

    if (test->cut) {
        g_string_truncate(stream, at);
    } else {
        stq_be_p(stream->str + at, test->value);
    }
    path = write_stream(stream);
    status = load_stream(path, &errors);
    unlink(path);
    g_test_message("%s", errors);
    error = g_strdup_printf("dev0: %s", test->error);
    if (!strstr(errors, error)) {
        vfio_user_test_fail("nothing said contains \"%s\": %s", error, errors);
    }
    g_assert_cmpint(status, ==, 1);
}

/* The control: what was taken is a good stream. */
static void test_stream_unchanged(const void *data)
{
    g_autofree char *path = write_stream(real_stream());
    g_autofree char *options = g_strdup_printf("-incoming \"exec:cat %s\"",
                                               path);
    MockConfig mock;
    VFIOUserTestVMConfig config = { .name = "destination", .mock = &mock,
                                    .options = options };
    g_autoptr(VFIOUserTestVM) vm = NULL;

    stream_config(&mock, true);
    vm = vfio_user_test_vm_new(&config);
    qtest_qmp_eventwait(vm->qts, "RESUME");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    g_assert_true(mock_loaded_is_good(vm->mock, NULL));
    unlink(path);
}

void vfio_user_test_add_stream(void)
{
    size_t i;

    vfio_user_test_add("/vfio-user/stream/unchanged", test_stream_unchanged,
                       NULL);
    for (i = 0; i < G_N_ELEMENTS(stream_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/stream/%s",
                                                stream_tests[i].path);

        vfio_user_test_add(path, test_stream, &stream_tests[i]);
    }
}
