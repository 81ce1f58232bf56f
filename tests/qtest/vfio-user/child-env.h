/*
 * The environment of the QEMUs that a test with threads starts.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_TEST_CHILD_ENV_H
#define VFIO_USER_TEST_CHILD_ENV_H

/*
 * libqtest forks to start QEMU, and its child sets QEMU_AUDIO_DRV before it
 * becomes QEMU.  g_setenv() writes a message of this, and both take memory.
 * Any lock that another thread of the test held at the fork stays held in the
 * child, which then waits for ever; seen with the address sanitizer, whose
 * allocator takes no care of forks.
 *
 * So the test sets the variable while it has one thread, and is linked with
 * --wrap=g_setenv, by which the child finds that there is nothing to do.
 */

/* Set what libqtest's child would set; to be called before there are threads */
void child_env_init(void);

/* GLib's, by the name that --wrap gives it */
gboolean __real_g_setenv(const gchar *name, const gchar *value,
                         gboolean overwrite);

/*
 * Called for g_setenv().  A variable that has the value already is left alone,
 * without memory and without a lock, even where @overwrite is set.
 *
 * Returns: whether the variable could be set
 */
gboolean __wrap_g_setenv(const gchar *name, const gchar *value,
                         gboolean overwrite);

#endif /* VFIO_USER_TEST_CHILD_ENV_H */
