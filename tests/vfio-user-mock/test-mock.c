/*
 * Tests of the mock server itself, driven over its socket with raw bytes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "test-mock-client.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_mock_add_device();
    test_mock_add_dma();
    test_mock_add_hostile();
    test_mock_add_migration();
    test_mock_add_script();
    test_mock_add_journal();
    return g_test_run();
}
