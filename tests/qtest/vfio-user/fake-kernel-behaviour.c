/*
 * What sets one fake kernel apart from another, as the environment says it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake-kernel.h"

FakeKernelBehaviour fake_kernel_behaviour;

static const struct {
    const char *word;
    bool *flag;
} flags[] = {
    { "reset-keeps-state", &fake_kernel_behaviour.reset_keeps_state },
    { "bus-reset-only", &fake_kernel_behaviour.bus_reset_only },
    { "may-cancel", &fake_kernel_behaviour.may_cancel },
    { "error-in-data", &fake_kernel_behaviour.error_in_data },
    { "data-mappable", &fake_kernel_behaviour.data_mappable },
    { "no-migration", &fake_kernel_behaviour.no_migration },
};

static bool set_flag(const char *word)
{
    size_t i;

    for (i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
        if (!strcmp(word, flags[i].word)) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

void fake_kernel_behaviour_read(void)
{
    char *words = strdup(getenv(FAKE_KERNEL_BEHAVIOUR) ?: "");
    char *left, *word;

    fake_kernel_behaviour = (FakeKernelBehaviour) { .error_on = -1 };
    for (word = strtok_r(words, ",", &left); word;
         word = strtok_r(NULL, ",", &left)) {
        if (sscanf(word, "error-on=%d", &fake_kernel_behaviour.error_on) != 1 &&
            sscanf(word, "reserved=%x", &fake_kernel_behaviour.reserved) != 1 &&
            !set_flag(word)) {
            fake_kernel_journal("BAD behaviour: %s", word);
        }
    }
    free(words);
}
