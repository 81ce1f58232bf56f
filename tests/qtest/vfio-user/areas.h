/*
 * The areas of the qtest: each registers its tests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_TEST_AREAS_H
#define VFIO_USER_TEST_AREAS_H

/* With vfio_user_test_add(); before g_test_run() */
void vfio_user_test_add_connect(void);
void vfio_user_test_add_device(void);
void vfio_user_test_add_dirty(void);
void vfio_user_test_add_dma(void);
void vfio_user_test_add_fault(void);
void vfio_user_test_add_iommu(void);
void vfio_user_test_add_irqfd(void);
void vfio_user_test_add_late(void);
void vfio_user_test_add_life(void);
void vfio_user_test_add_many(void);
void vfio_user_test_add_migration(void);
void vfio_user_test_add_monitor(void);
void vfio_user_test_add_operator(void);
void vfio_user_test_add_property(void);
void vfio_user_test_add_reconnect(void);
void vfio_user_test_add_reconnect_fault(void);
void vfio_user_test_add_reconnect_migration(void);
void vfio_user_test_add_scenarios(void);
void vfio_user_test_add_soak(void);
void vfio_user_test_add_soak_kill(void);
void vfio_user_test_add_stream(void);
void vfio_user_test_add_virtio_mem(void);

#endif /* VFIO_USER_TEST_AREAS_H */
