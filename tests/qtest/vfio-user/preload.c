/*
 * What the tests with the fake kernel share: how QEMU gets it, and how its
 * journal is read.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "preload.h"

static char *asan_options;      /* as they were, NULL: there are none */

/*
 * QEMU gets its environment from the test. The address sanitizer, if QEMU is
 * built with it, wants to be told that the library is to be first.
 */
void preload_begin(const char *journal)
{
    g_autofree char *library = NULL, *asan = NULL;

    library = g_test_build_filename(G_TEST_BUILT, "vfio-user",
                                    "libvfio-fake-kernel.so", NULL);
    if (access(library, R_OK)) {
        g_error("there is no %s: set G_TEST_BUILDDIR to the folder of the "
                "test's program", library);
    }
    asan_options = g_strdup(getenv("ASAN_OPTIONS"));
    asan = g_strdup_printf("%s:verify_asan_link_order=0", asan_options ?: "");
    g_setenv("ASAN_OPTIONS", asan, true);
    g_setenv(FAKE_KERNEL_JOURNAL, journal, true);
    g_setenv("LD_PRELOAD", library, true);
}

void preload_end(void)
{
    g_unsetenv("LD_PRELOAD");
    if (asan_options) {
        g_setenv("ASAN_OPTIONS", asan_options, true);
    } else {
        g_unsetenv("ASAN_OPTIONS");
    }
    g_clear_pointer(&asan_options, g_free);
}

char *preload_journal(const char *journal, size_t from, size_t *end)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    g_assert_true(g_file_get_contents(journal, &text, end, NULL));
    g_assert_cmpuint(*end, >=, from);
    lines = g_strsplit(g_strchomp(text + from), "\n", -1);
    return g_strjoinv(", ", lines);
}

unsigned preload_count_lines(const char *text)
{
    unsigned count = *text != 0;

    while ((text = strstr(text, ", "))) {
        text += 2;
        count++;
    }
    return count;
}
