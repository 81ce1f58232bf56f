/*
 * The environment of the QEMUs that a test with threads starts.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "child-env.h"

gboolean __wrap_g_setenv(const gchar *name, const gchar *value,
                         gboolean overwrite)
{
    const char *now = getenv(name);

    if (now && strcmp(now, value) == 0) {
        return TRUE;
    }
    return __real_g_setenv(name, value, overwrite);
}

void child_env_init(void)
{
    g_setenv("QEMU_AUDIO_DRV", "none", TRUE);
}
