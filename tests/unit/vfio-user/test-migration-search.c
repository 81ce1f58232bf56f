/*
 * Search through all that can happen to a VM with a VFIO device, on each kind
 * of server: from every situation that can be reached every move is made and
 * judged, so that what is found to hold does so for sequences of any length.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration-model.h"

/* For the count of sequences only */
#define DEPTH 10

/* A situation, and the shortest way to it */
typedef struct Node {
    World world;
    unsigned parent;
    Move move;              /* MOVES: none, the device was found so */
    uint64_t ways[2];       /* to here, in as many moves as are counted */
} Node;

typedef struct Edge {
    unsigned from;
    unsigned to;
} Edge;

typedef struct Search {
    Behaviour behaviour;
    GPtrArray *nodes;       /* of Node */
    GHashTable *index;      /* key to number of node plus 1 */
    GArray *edges;          /* of Edge */
} Search;

static Node *search_node(Search *search, unsigned number)
{
    return g_ptr_array_index(search->nodes, number);
}

static void node_free(gpointer data)
{
    Node *node = data;

    world_destroy(&node->world);
    g_free(node);
}

/* The node's number; what it was made for is taken over, or freed. */
static unsigned search_add(Search *search, Node *node)
{
    uint64_t key = world_key(&node->world);
    gpointer known = g_hash_table_lookup(search->index, &key);

    if (known) {
        node_free(node);
        return GPOINTER_TO_UINT(known) - 1;
    }
    g_ptr_array_add(search->nodes, node);
    g_hash_table_insert(search->index, g_memdup2(&key, sizeof(key)),
                        GUINT_TO_POINTER(search->nodes->len));
    return search->nodes->len - 1;
}

static void search_tell(Search *search, const Node *last)
{
    g_autoptr(GString) text = NULL;
    unsigned number;

    if (last->move == MOVES) {
        g_test_message("%s: realize: %s", behaviour_names[search->behaviour],
                       last->world.wrong);
        g_test_fail();
        return;
    }
    text = g_string_new(move_names[last->move]);

    for (number = last->parent; search_node(search, number)->move < MOVES;
         number = search_node(search, number)->parent) {
        g_string_prepend_c(text, ' ');
        g_string_prepend(text, move_names[search_node(search, number)->move]);
    }
    g_test_message("%s: %s: %s (device in %u, expected %u)",
                   behaviour_names[search->behaviour], text->str,
                   last->world.wrong, last->world.server.value,
                   world_expected(&last->world));
    g_test_fail();
}

static void search_from(Search *search, unsigned number)
{
    Move move;

    for (move = 0; move < MOVES && !g_test_failed(); move++) {
        Node *node = g_new0(Node, 1);
        Edge edge = { .from = number };

        world_copy(&node->world, &search_node(search, number)->world);
        node->parent = number;
        node->move = move;
        if (!world_move(&node->world, move)) {
            node_free(node);
            continue;
        }
        if (node->world.wrong) {
            search_tell(search, node);
        }
        edge.to = search_add(search, node);
        g_array_append_val(search->edges, edge);
    }
}

/* How many sequences of up to DEPTH moves the edges are made of */
static uint64_t search_count(Search *search)
{
    uint64_t total = 0;
    unsigned depth, i;

    for (i = 0; i < search->nodes->len; i++) {
        Node *node = search_node(search, i);

        node->ways[0] = node->move == MOVES;
    }
    for (depth = 0; depth < DEPTH; depth++) {
        unsigned now = depth % 2, then = !now;

        for (i = 0; i < search->nodes->len; i++) {
            search_node(search, i)->ways[then] = 0;
        }
        for (i = 0; i < search->edges->len; i++) {
            Edge *edge = &g_array_index(search->edges, Edge, i);
            uint64_t ways = search_node(search, edge->from)->ways[now];

            search_node(search, edge->to)->ways[then] += ways;
            total += ways;
        }
    }
    return total;
}

/* What an earlier client left behind is where it may all begin. */
static void search_begin(Search *search, uint32_t found)
{
    Node *node = g_new0(Node, 1);
    bool usable = world_init(&node->world, search->behaviour, found);

    node->move = MOVES;
    if (node->world.wrong) {
        search_tell(search, node);
    }
    if (usable) {
        search_add(search, node);
    } else {
        g_assert_cmpuint(found, ==, VFIO_MIGRATION_STATE_ERROR);
        node_free(node);
    }
}

static void test_migration_search(const void *data)
{
    Search search = {
        .behaviour = GPOINTER_TO_UINT(data),
        .nodes = g_ptr_array_new_with_free_func(node_free),
        .index = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                       NULL),
        .edges = g_array_new(false, false, sizeof(Edge)),
    };
    uint32_t found;
    unsigned i;

    for (found = 0; found <= VFIO_MIGRATION_STATE_RESUMING; found++) {
        search_begin(&search, found);
    }
    search_begin(&search, VFIO_MIGRATION_STATE_ERROR);
    for (i = 0; i < search.nodes->len && !g_test_failed(); i++) {
        search_from(&search, i);
    }
    if (!g_test_failed()) {
        g_test_message("%s: %u states, %u moves between them, all checked; "
                       "they make %" PRIu64 " sequences of up to %d events",
                       behaviour_names[search.behaviour], search.nodes->len,
                       search.edges->len, search_count(&search), DEPTH);
    }
    g_assert_cmpuint(search.nodes->len, >, 500);
    g_ptr_array_unref(search.nodes);
    g_hash_table_unref(search.index);
    g_array_unref(search.edges);
}

int main(int argc, char **argv)
{
    Behaviour behaviour;

    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    for (behaviour = 0; behaviour < BEHAVIOURS; behaviour++) {
        g_autofree char *path = g_strdup_printf("/vfio/migration-search/%s",
                                                behaviour_names[behaviour]);

        g_test_add_data_func(path, GUINT_TO_POINTER(behaviour),
                             test_migration_search);
    }
    return g_test_run();
}
