/*
 * Unit tests of the vfio-user capabilities: what is sent, and what of a
 * server's JSON is accepted, clamped and refused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "hw/vfio-user/caps.h"

/* The specification's defaults, but for migration's page size: the host's */
#define DEFAULTS \
    .max_msg_fds = 1, \
    .max_data_xfer_size = 1048576, \
    .max_dma_maps = 65535, \
    .pgsizes = 4096, \
    .max_bitmap_size = 268435456

#define IN_CAPS(text) "{\"capabilities\": {" text "}}"
#define IN_MIGRATION(text) IN_CAPS("\"migration\": {" text "}")

typedef struct Accepted {
    const char *json;
    VFIOUserCaps caps;      /* migration_pgsize 0: the host's */
} Accepted;

static const VFIOUserCaps defaults = { DEFAULTS };

static void assert_caps(const VFIOUserCaps *got, const VFIOUserCaps *expected)
{
    uint64_t pgsize = expected->migration_pgsize;

    g_assert_cmpuint(got->max_msg_fds, ==, expected->max_msg_fds);
    g_assert_cmpuint(got->max_data_xfer_size, ==,
                     expected->max_data_xfer_size);
    g_assert_cmpuint(got->max_dma_maps, ==, expected->max_dma_maps);
    g_assert_cmphex(got->pgsizes, ==, expected->pgsizes);
    g_assert_cmpint(got->migration, ==, expected->migration);
    g_assert_cmpuint(got->migration_pgsize, ==,
                     pgsize ? pgsize : qemu_real_host_page_size());
    g_assert_cmpuint(got->max_bitmap_size, ==, expected->max_bitmap_size);
    g_assert_cmpint(got->twin_socket, ==, expected->twin_socket);
    g_assert_cmpuint(got->twin_fd_index, ==, expected->twin_fd_index);
}

/* Parse a copy of exactly the text, so that a sanitizer sees a read beyond */
static bool parse(const char *json, size_t len, VFIOUserCaps *caps,
                  Error **errp)
{
    g_autofree char *copy = g_memdup2(json, len);

    return vfio_user_caps_parse(copy, len, caps, errp);
}

/* A later initializer of a field overrides the default's. */
static const Accepted accepted[] = {
    { "{}", { DEFAULTS } },
    { "  {\"capabilities\": {}}\n", { DEFAULTS } },
    { "{\"other\": [1, {\"capabilities\": 3}]}", { DEFAULTS } },
    { IN_CAPS("\"twin_socket\": {\"supported\": false, \"fd_index\": []}, "
              "\"x\": null"), { DEFAULTS } },
    { IN_CAPS("\"twin_socket\": {}"), { DEFAULTS } },
    { IN_CAPS("\"twin_socket\": {\"supported\": true, \"fd_index\": 3}"),
      { DEFAULTS, .twin_socket = true, .twin_fd_index = 3 } },

    { IN_CAPS("\"max_msg_fds\": 8"), { DEFAULTS, .max_msg_fds = 8 } },
    { IN_CAPS("\"max_msg_fds\": 0"), { DEFAULTS, .max_msg_fds = 0 } },
    { IN_CAPS("\"max_msg_fds\": 16"), { DEFAULTS, .max_msg_fds = 16 } },
    { IN_CAPS("\"max_msg_fds\": 17"), { DEFAULTS, .max_msg_fds = 16 } },
    { IN_CAPS("\"max_msg_fds\": 4294967297"),
      { DEFAULTS, .max_msg_fds = 16 } },
    { IN_CAPS("\"max_msg_fds\": 18446744073709551615"),
      { DEFAULTS, .max_msg_fds = 16 } },
    { IN_CAPS("\"max_msg_fds\": 18446744073709551616"),
      { DEFAULTS, .max_msg_fds = 16 } },

    { IN_CAPS("\"max_data_xfer_size\": 8"),
      { DEFAULTS, .max_data_xfer_size = 8 } },
    { IN_CAPS("\"max_data_xfer_size\": 1048577"), { DEFAULTS } },
    { IN_CAPS("\"max_data_xfer_size\": 99999999999999999999999999"),
      { DEFAULTS } },

    { IN_CAPS("\"max_dma_maps\": 16"), { DEFAULTS, .max_dma_maps = 16 } },
    { IN_CAPS("\"max_dma_maps\": 0"), { DEFAULTS, .max_dma_maps = 0 } },
    { IN_CAPS("\"max_dma_maps\": 4294967296"),
      { DEFAULTS, .max_dma_maps = 4294967295 } },

    { IN_CAPS("\"pgsizes\": 2101248"), { DEFAULTS, .pgsizes = 0x201000 } },
    { IN_CAPS("\"pgsizes\": 18446744073709551615"),
      { DEFAULTS, .pgsizes = UINT64_MAX } },

    { IN_MIGRATION(""), { DEFAULTS, .migration = true } },
    { IN_MIGRATION("\"x\": 1"), { DEFAULTS, .migration = true } },
    { IN_MIGRATION("\"pgsize\": 65536"),
      { DEFAULTS, .migration = true, .migration_pgsize = 65536 } },
    { IN_MIGRATION("\"pgsize\": 1"),
      { DEFAULTS, .migration = true, .migration_pgsize = 1 } },
    { IN_MIGRATION("\"max_bitmap_size\": 8"),
      { DEFAULTS, .migration = true, .max_bitmap_size = 8 } },
    { IN_MIGRATION("\"max_bitmap_size\": 268435457"),
      { DEFAULTS, .migration = true } },
    /* Only numbers in "migration" are migration's. */
    { IN_CAPS("\"pgsize\": 3, \"max_bitmap_size\": 0"), { DEFAULTS } },

    /* What libvfio-user says */
    { IN_CAPS("\"max_msg_fds\": 8, \"max_data_xfer_size\": 1048576, "
              "\"migration\": {\"pgsize\": 4096}"),
      { DEFAULTS, .max_msg_fds = 8, .migration = true,
        .migration_pgsize = 4096 } },
};

static const struct {
    const char *json;
    const char *error;
} refused[] = {
    { "[]", "JSON is not an object" },
    { "3", "JSON is not an object" },
    { "null", "JSON is not an object" },
    { " ", "JSON is not valid: " },
    { "{", "JSON is not valid: " },
    { "{}}", "JSON is not valid: " },
    { "{} {}", "JSON is not valid: " },
    { "garbage", "JSON is not valid: " },
    { "{\"capabilities\": %p}", "JSON is not valid: " },
    { "{\"capabilities\": 1}", "capabilities is not an object" },
    { "{\"capabilities\": null}", "capabilities is not an object" },
    { "{\"capabilities\": []}", "capabilities is not an object" },

    { IN_CAPS("\"twin_socket\": true"),
      "capabilities.twin_socket is not an object" },
    { IN_CAPS("\"twin_socket\": {\"supported\": 1}"),
      "capabilities.twin_socket.supported is not a boolean" },
    { IN_CAPS("\"twin_socket\": {\"supported\": true}"),
      "capabilities.twin_socket.fd_index is missing" },
    { IN_CAPS("\"twin_socket\": {\"supported\": true, \"fd_index\": -1}"),
      "capabilities.twin_socket.fd_index is negative (got -1, limit 0)" },
    { IN_CAPS("\"twin_socket\": {\"supported\": true, \"fd_index\": null}"),
      "capabilities.twin_socket.fd_index is not an integer" },

    { IN_CAPS("\"max_msg_fds\": -1"),
      "capabilities.max_msg_fds is negative (got -1, limit 0)" },
    { IN_CAPS("\"max_msg_fds\": \"8\""),
      "capabilities.max_msg_fds is not an integer" },
    { IN_CAPS("\"max_msg_fds\": true"),
      "capabilities.max_msg_fds is not an integer" },
    { IN_CAPS("\"max_msg_fds\": 1.5"),
      "capabilities.max_msg_fds is not an integer" },
    { IN_CAPS("\"max_msg_fds\": -1e30"),
      "capabilities.max_msg_fds is not an integer" },
    { IN_CAPS("\"max_msg_fds\": null"),
      "capabilities.max_msg_fds is not an integer" },

    { IN_CAPS("\"max_data_xfer_size\": 0"),
      "capabilities.max_data_xfer_size is too small (got 0, limit 8)" },
    { IN_CAPS("\"max_data_xfer_size\": 7"),
      "capabilities.max_data_xfer_size is too small (got 7, limit 8)" },
    { IN_CAPS("\"max_data_xfer_size\": {}"),
      "capabilities.max_data_xfer_size is not an integer" },

    { IN_CAPS("\"max_dma_maps\": -16"),
      "capabilities.max_dma_maps is negative" },
    { IN_CAPS("\"pgsizes\": 0"), "capabilities.pgsizes is too small" },

    { IN_CAPS("\"migration\": true"),
      "capabilities.migration is not an object" },
    { IN_CAPS("\"migration\": null"),
      "capabilities.migration is not an object" },
    { IN_MIGRATION("\"pgsize\": 0"),
      "capabilities.migration.pgsize is too small" },
    { IN_MIGRATION("\"pgsize\": 4097"),
      "capabilities.migration.pgsize is not a power of two (got 4097)" },
    { IN_MIGRATION("\"pgsize\": 99999999999999999999"),
      "capabilities.migration.pgsize is not a power of two" },
    { IN_MIGRATION("\"pgsize\": []"),
      "capabilities.migration.pgsize is not an integer" },
    { IN_MIGRATION("\"max_bitmap_size\": 0"),
      "capabilities.migration.max_bitmap_size is too small" },
};

static void test_caps_accepted(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(accepted); i++) {
        VFIOUserCaps caps;

        g_test_message("%s", accepted[i].json);
        memset(&caps, 0xa5, sizeof(caps));
        g_assert_true(parse(accepted[i].json, strlen(accepted[i].json), &caps,
                            &error_abort));
        assert_caps(&caps, &accepted[i].caps);
    }
}

static void assert_refused(const char *json, size_t len, const char *error)
{
    Error *err = NULL;
    VFIOUserCaps caps;
    uint8_t untouched[sizeof(caps)];

    memset(&caps, 0xa5, sizeof(caps));
    memset(untouched, 0xa5, sizeof(untouched));
    g_assert_false(parse(json, len, &caps, &err));
    g_assert_nonnull(err);
    if (!g_str_has_prefix(error_get_pretty(err), error)) {
        g_test_message("got \"%s\", expected \"%s\"", error_get_pretty(err),
                       error);
        g_test_fail();
    }
    g_assert_cmpmem(&caps, sizeof(caps), untouched, sizeof(untouched));
    error_free(err);
}

static void test_caps_refused(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        g_test_message("%s", refused[i].json);
        assert_refused(refused[i].json, strlen(refused[i].json),
                       refused[i].error);
    }
}

static void test_caps_absent(void)
{
    VFIOUserCaps caps;

    g_assert_true(vfio_user_caps_parse(NULL, 0, &caps, &error_abort));
    assert_caps(&caps, &defaults);
    g_assert_true(vfio_user_caps_parse("", 0, &caps, &error_abort));
    assert_caps(&caps, &defaults);

    memset(&caps, 0xa5, sizeof(caps));
    vfio_user_caps_init_default(&caps);
    assert_caps(&caps, &defaults);
}

static void test_caps_size(void)
{
    VFIOUserCaps caps;
    g_autofree char *json = g_strnfill(64 * KiB + 1, ' ');
    const char inside[] = "{}\0{}";

    memcpy(json, "{}", 2);
    g_assert_true(parse(json, 64 * KiB, &caps, &error_abort));
    assert_caps(&caps, &defaults);
    assert_refused(json, 64 * KiB + 1,
                   "JSON is too large (got 65537, limit 65536)");
    assert_refused(inside, sizeof(inside) - 1, "JSON has a NUL inside");
}

/* 64 KiB of brackets: the parser has to give up before the stack does. */
static void test_caps_depth(void)
{
    g_autofree char *json = g_strnfill(64 * KiB, '[');

    assert_refused(json, 64 * KiB, "JSON is not valid: ");
}

static void test_caps_sent(void)
{
    VFIOUserCaps ours;
    g_autofree char *json = NULL;
    g_autofree char *without = NULL;
    g_autofree char *expected = NULL;
    QDict *sent, *wanted;

    vfio_user_caps_init_client(&ours);
    json = vfio_user_caps_to_json(&ours);
    expected = g_strdup_printf("{\"capabilities\": {\"max_msg_fds\": 16, "
                               "\"max_data_xfer_size\": 1048576, "
                               "\"twin_socket\": {\"supported\": true}, "
                               "\"migration\": {\"pgsize\": %zu}}}",
                               (size_t)qemu_real_host_page_size());
    sent = qobject_to(QDict, qobject_from_json(json, &error_abort));
    wanted = qobject_to(QDict, qobject_from_json(expected, &error_abort));
    g_assert_true(qobject_is_equal(QOBJECT(sent), QOBJECT(wanted)));
    qobject_unref(sent);
    qobject_unref(wanted);

    ours.migration = false;
    ours.twin_socket = false;
    ours.max_msg_fds = 1;
    ours.max_data_xfer_size = 4096;
    without = vfio_user_caps_to_json(&ours);
    sent = qobject_to(QDict, qobject_from_json(without, &error_abort));
    wanted = qobject_to(QDict, qobject_from_json(
                            IN_CAPS("\"max_msg_fds\": 1, "
                                    "\"max_data_xfer_size\": 4096"),
                            &error_abort));
    g_assert_true(qobject_is_equal(QOBJECT(sent), QOBJECT(wanted)));
    qobject_unref(sent);
    qobject_unref(wanted);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/vfio-user/caps/accepted", test_caps_accepted);
    g_test_add_func("/vfio-user/caps/refused", test_caps_refused);
    g_test_add_func("/vfio-user/caps/absent", test_caps_absent);
    g_test_add_func("/vfio-user/caps/size", test_caps_size);
    g_test_add_func("/vfio-user/caps/depth", test_caps_depth);
    g_test_add_func("/vfio-user/caps/sent", test_caps_sent);
    return g_test_run();
}
