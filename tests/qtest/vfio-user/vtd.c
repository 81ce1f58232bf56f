/*
 * A guest's driver of intel-iommu, for the vfio-user qtests.  Numbers are from
 * the specification of VT-d.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vtd.h"

#define VTD_BASE 0xfed90000ull
#define VTD_GCMD 0x18
#define VTD_GSTS 0x1c
#define VTD_RTADDR 0x20
#define VTD_CCMD 0x28
#define VTD_IVA 0xf0
#define VTD_IOTLB 0xf8

#define GCMD_TRANSLATION (1u << 31)
#define GCMD_ROOT (1u << 30)
#define INVALIDATE (1ull << 63)         /* CCMD and IOTLB: until it is done */
#define CCMD_DEVICE (3ull << 61)
#define IOTLB_DOMAIN (2ull << 60)
#define IOTLB_PAGES (3ull << 60)

#define PRESENT 1
#define CONTEXT_PASS_THROUGH (2 << 2)
#define CONTEXT_39_BITS 1
#define CONTEXT_ID_SHIFT 8

#define PAGE 0x1000
#define TABLE_MASK 0x0000fffffffff000ull
#define LEVELS 3

static uint64_t new_table(VTD *vtd)
{
    uint64_t table = vtd->next_table;

    qtest_memset(vtd->qts, table, 0, PAGE);
    vtd->next_table += PAGE;
    return table;
}

static void command(VTD *vtd, uint32_t value, uint32_t bit)
{
    qtest_writel(vtd->qts, VTD_BASE + VTD_GCMD, value);
    g_assert_cmphex(qtest_readl(vtd->qts, VTD_BASE + VTD_GSTS) & bit, ==,
                    value & bit);
}

void vtd_init(VTD *vtd, QTestState *qts, uint64_t tables)
{
    *vtd = (VTD) { .qts = qts, .next_table = tables };
    vtd->root = new_table(vtd);
    vtd->contexts = new_table(vtd);
    qtest_writeq(qts, vtd->root, vtd->contexts | PRESENT);
    qtest_writeq(qts, vtd->root + 16, vtd->contexts | PRESENT);
    qtest_writeq(qts, VTD_BASE + VTD_RTADDR, vtd->root);
    command(vtd, GCMD_ROOT, GCMD_ROOT);
}

void vtd_domain_init(VTD *vtd, VTDDomain *domain, uint16_t id)
{
    domain->id = id;
    domain->table = new_table(vtd);
}

void vtd_set_page(VTD *vtd, const VTDDomain *domain, uint64_t iova,
                  uint64_t address, uint64_t flags)
{
    uint64_t table = domain->table;
    int level, last = flags & VTD_LARGE ? 2 : 1;

    for (level = LEVELS; ; level--) {
        uint64_t entry = table + (iova >> (3 + 9 * level) & 0x1ff) * 8;

        if (level == last) {
            qtest_writeq(vtd->qts, entry, flags ? address | flags : 0);
            return;
        }
        table = qtest_readq(vtd->qts, entry) & TABLE_MASK;
        if (!table) {
            table = new_table(vtd);
            qtest_writeq(vtd->qts, entry, table | VTD_READ | VTD_WRITE);
        }
    }
}

static void invalidate(VTD *vtd, uint64_t offset, uint64_t value)
{
    qtest_writeq(vtd->qts, VTD_BASE + offset, INVALIDATE | value);
    g_assert_false(qtest_readq(vtd->qts, VTD_BASE + offset) & INVALIDATE);
}

void vtd_invalidate(VTD *vtd, const VTDDomain *domain, uint64_t iova,
                    unsigned order)
{
    qtest_writeq(vtd->qts, VTD_BASE + VTD_IVA, iova | order);
    invalidate(vtd, VTD_IOTLB, IOTLB_PAGES | (uint64_t)domain->id << 32);
}

static void set_context(VTD *vtd, uint8_t devfn, uint64_t low, uint64_t high)
{
    uint64_t entry = vtd->contexts + devfn * 16;

    qtest_writeq(vtd->qts, entry + 8, high);
    qtest_writeq(vtd->qts, entry, low);
    invalidate(vtd, VTD_CCMD, CCMD_DEVICE | (uint64_t)devfn << 16);
}

void vtd_attach(VTD *vtd, uint8_t devfn, const VTDDomain *domain)
{
    if (!domain) {
        set_context(vtd, devfn, 0, 0);
        return;
    }
    set_context(vtd, devfn, domain->table | PRESENT,
                CONTEXT_39_BITS | domain->id << CONTEXT_ID_SHIFT);
    invalidate(vtd, VTD_IOTLB, IOTLB_DOMAIN | (uint64_t)domain->id << 32);
}

void vtd_pass_through(VTD *vtd, uint8_t devfn)
{
    set_context(vtd, devfn, CONTEXT_PASS_THROUGH | PRESENT, CONTEXT_39_BITS);
}

void vtd_enable(VTD *vtd, bool enable)
{
    command(vtd, enable ? GCMD_TRANSLATION : 0, GCMD_TRANSLATION);
}
