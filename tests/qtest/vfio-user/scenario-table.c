/*
 * The table of all scenarios: what servers of each behaviour were told, and
 * whether less would have done.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "scenario.h"

/* What both sides of a scenario were told, by which servers */
typedef struct Row {
    const Scenario *scenario;
    char *source;
    char *destination;          /* NULL: there was none */
    GString *behaviours;
} Row;

static GPtrArray *rows;

/*
 * What was told for nothing. A write is redundant that tells the state which
 * is there; a read, unless something before it may have changed the state: an
 * error answer or a reset.
 */
typedef struct Waste {
    unsigned writes;
    unsigned reads;
} Waste;

static void add_waste(Waste *waste, const char *story, bool doubtful)
{
    g_auto(GStrv) words = g_strsplit(story, " ", 0);
    char held = '1';
    char **word;

    for (word = words; *word; word++) {
        bool refused = g_str_has_suffix(*word, "!");

        if (g_str_has_prefix(*word, "RESET")) {
            doubtful |= held != '1' && !refused;
        } else if (**word == 'R') {
            waste->reads += !doubtful;
            held = doubtful ? '?' : held;
            doubtful = false;
        } else if (**word == 'W' && refused) {
            doubtful = true;
        } else if (**word == 'W') {
            waste->writes += (*word)[1] == held;
            held = (*word)[1];
        }
    }
}

static Waste find_waste(const Row *row)
{
    Waste waste = { };

    /* a guest's own reset is not told by QEMU, and asks for a look */
    add_waste(&waste, row->source, scenario_resets_function(row->scenario));
    add_waste(&waste, row->destination ?: "", false);
    return waste;
}

void scenario_note(const Scenario *scenario, const char *behaviour,
                   const char *source, const char *destination)
{
    Row *row;
    guint i;

    if (!rows) {
        rows = g_ptr_array_new();
    }
    for (i = 0; i < rows->len; i++) {
        row = g_ptr_array_index(rows, i);
        if (row->scenario == scenario && g_str_equal(row->source, source) &&
            !g_strcmp0(row->destination, destination)) {
            g_string_append_printf(row->behaviours, ", %s", behaviour);
            return;
        }
    }
    row = g_new0(Row, 1);
    *row = (Row) {
        .scenario = scenario,
        .source = g_strdup(source),
        .destination = g_strdup(destination),
        .behaviours = g_string_new(behaviour),
    };
    g_ptr_array_add(rows, row);
}

static void write_row(GString *text, const Row *row)
{
    Waste waste = find_waste(row);
    bool all = g_str_equal(row->behaviours->str,
                           "lvu1, strict, reset-to-running, state-kept");

    g_string_append_printf(text, "   \"%s%s\", \"%s\", \"%s\", \"%s\"",
                           row->scenario->name,
                           row->scenario->stock ? ", as stock" : "",
                           all ? "all" : row->behaviours->str,
                           *row->source ? row->source : "nothing",
                           row->destination ?: "");
    if (!waste.writes && !waste.reads) {
        g_string_append(text, ", \"yes\"\n");
    } else {
        g_string_append_printf(text, ", \"no: %u W, %u R too many\"\n",
                               waste.writes, waste.reads);
    }
}

void vfio_user_test_write_scenarios(void)
{
    g_autoptr(GString) text = g_string_new(
        ".. csv-table::\n   :header: Scenario, Server, Device, "
        "Device at the destination, Minimal\n   :widths: 30 20 26 12 12\n\n");
    const char *path = g_getenv("VFIO_USER_TEST_SCENARIOS");
    guint i;

    if (!path || !rows) {
        return;
    }
    for (i = 0; i < rows->len; i++) {
        write_row(text, g_ptr_array_index(rows, i));
    }
    g_assert_true(g_file_set_contents(path, text->str, -1, NULL));
}
