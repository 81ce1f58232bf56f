/*
 * What the servers of our own, on libvfio-user, have in common.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef INTEROP_SERVER_H
#define INTEROP_SERVER_H

#include "libvfio-user.h"

/* End the program, with @what and errno's text, if @ret is below zero. */
void must(ssize_t ret, const char *what);

/* Give the device a migration region that has @size bytes for data. */
void server_set_up_region(vfu_ctx_t *ctx,
                          const vfu_migration_callbacks_t *callbacks,
                          size_t size);

#endif /* INTEROP_SERVER_H */
