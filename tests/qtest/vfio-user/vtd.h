/*
 * A guest's driver of intel-iommu, for the vfio-user qtests: legacy mode, three
 * levels, invalidation by registers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_VTD_H
#define TESTS_QTEST_VFIO_USER_VTD_H

#include "libqtest.h"

/* Of an entry for a page */
#define VTD_READ 1
#define VTD_WRITE 2
#define VTD_LARGE 0x80          /* 2 MiB, not 4 KiB */

/* A table of pages, a domain to the IOMMU */
typedef struct VTDDomain {
    uint16_t id;
    uint64_t table;
} VTDDomain;

typedef struct VTD {
    QTestState *qts;
    uint64_t next_table;        /* guest memory to be used next */
    uint64_t root;
    uint64_t contexts;          /* of buses 0 and 1 */
} VTD;

/*
 * Make tables in guest memory from @tables on, in which no device has a
 * context, and let the IOMMU know of them. Translation is off.
 */
void vtd_init(VTD *vtd, QTestState *qts, uint64_t tables);

/* A new domain, without pages. */
void vtd_domain_init(VTD *vtd, VTDDomain *domain, uint16_t id);

/* Set the entry for the page at @iova; with no @flags, take it away. */
void vtd_set_page(VTD *vtd, const VTDDomain *domain, uint64_t iova,
                  uint64_t address, uint64_t flags);

/* Say that entries for 2^@order pages of 4 KiB at @iova may have changed. */
void vtd_invalidate(VTD *vtd, const VTDDomain *domain, uint64_t iova,
                    unsigned order);

/*
 * Put the function @devfn of both buses in @domain (NULL: in none), or let what
 * it does pass untranslated, and say so for bus 0.
 */
void vtd_attach(VTD *vtd, uint8_t devfn, const VTDDomain *domain);
void vtd_pass_through(VTD *vtd, uint8_t devfn);

/* Translation on or off */
void vtd_enable(VTD *vtd, bool enable);

#endif /* TESTS_QTEST_VFIO_USER_VTD_H */
