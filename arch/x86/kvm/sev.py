# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/svm/sev.c: what encrypted VMs need when KVM is loaded.

Without SEV in the CPU, or when setting it up fails, KVM does without it and loads all the same.
"""

from __future__ import annotations

from arch.x86.kernel.msr import boot_cpu_has
from arch.x86.kvm.svm_data import Svm, bitmap, svm_cpu_data
from kvm_ref.errno import EBUSY, EINVAL, EIO, ENODEV, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Resource
from kvm_ref.linux.gfp import __free_page, alloc_pages_node, pages, split_page
from kvm_ref.linux.printk import WARN_ON_ONCE, WARN_ONCE, pr_err
from kvm_ref.linux.slab import kcalloc
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.vocabulary import NULL, kernel_function

# How many encrypted guests the model's CPU can hold apart, and from which number on they are SEV's alone:
# those below are SEV-ES's.
MAX_SEV_ASID = 509
MIN_SEV_ASID = 100
UINT_MAX = 0xFFFFFFFF


class firmware_page(Resource):
    """A page that the secure processor owns."""

    __slots__ = ()


@kernel_function(fails=NULL, acquires="bitmap", args=("what",), symbol="__kmalloc_noprof")
def bitmap_zalloc(k: Kernel, what: str) -> bitmap | None:
    """Allocate a zeroed bitmap (lib/bitmap.c)."""
    return bitmap(k.new(what))


@kernel_function(releases="bitmap")
def bitmap_free(k: Kernel, map: bitmap | None) -> None:
    """Free a bitmap; NULL is legal (lib/bitmap.c)."""


@kernel_function(fails=EINVAL, args=("type", "capacity"))
def misc_cg_set_capacity(k: Kernel, type: str, capacity: int) -> None:
    """Say how many of a scarce thing cgroups may share out (kernel/cgroup/misc.c)."""


@kernel_function(fails=EBUSY)
def sev_flush_asids(k: Kernel) -> None:
    """Make ASIDs that guests have left fit for use; -EBUSY if there are none."""
    raise KernelError(EBUSY)


@kernel_function(fails=ENODEV)
def sev_platform_init(k: Kernel) -> None:
    """Start the firmware on the secure processor (drivers/crypto/ccp/sev-dev.c)."""


@kernel_function()
def sev_platform_shutdown(k: Kernel) -> None:
    """Stop the firmware; it may never have been started (drivers/crypto/ccp/sev-dev.c)."""


@kernel_function(fails=NULL, acquires="firmware_page")
def snp_alloc_firmware_page(k: Kernel) -> firmware_page | None:
    """Allocate a page that the firmware may write (drivers/crypto/ccp/sev-dev.c)."""
    return firmware_page(k.new("snp_status"))


@kernel_function(releases="firmware_page")
def snp_free_firmware_page(k: Kernel, addr: firmware_page) -> None:
    """Take the page back from the firmware and free it (drivers/crypto/ccp/sev-dev.c)."""


@kernel_function(fails=(EIO, ENODEV, EBUSY, EINVAL), args=("cmd",))
def sev_do_cmd(k: Kernel, cmd: str) -> None:
    """Give the secure processor a command, and wait for the answer (drivers/crypto/ccp/sev-dev.c)."""


@kernel_function(fails=NULL)
def snp_safe_alloc_page_node(k: Kernel, what: str) -> pages | None:
    """Allocate a page that a CPU with SEV-SNP may use for its own state: there, one of two."""
    # cc_platform_has(CC_ATTR_HOST_SEV_SNP)
    if not k.features["host_sev_snp"]:
        return alloc_pages_node(k, what)

    p = alloc_pages_node(k, what)
    if not p:
        return None

    # Which of the two goes depends on where they lie.
    __free_page(k, split_page(k, p))

    return p


@kernel_function(fails=False)
def is_sev_snp_initialized(k: Kernel) -> bool:
    """Say whether the firmware has brought SEV-SNP up."""
    status = snp_alloc_firmware_page(k)
    if not status:
        return False

    initialized = False
    with ladder(k) as goto:
        with goto("out"):
            try:
                sev_do_cmd(k, "SEV_CMD_SNP_PLATFORM_STATUS")
            except KernelError as error:
                ret = error.errno
                pr_err(k, f"kvm_amd: SEV: SNP_PLATFORM_STATUS failed ret={-(ret or 0)}, fw_error=0 (0)")
                raise

        initialized = True

    goto.reached("out")
    snp_free_firmware_page(k, status)

    return initialized


@kernel_function()
def sev_hardware_setup(k: Kernel) -> None:
    """Set SEV up if the CPU has it; no failure leaves this function."""
    g = k[Svm]
    sev_supported, sev_es_supported, sev_snp_supported = _sev_asids(k)

    if g.sev_enabled:
        try:
            sev_platform_init(k)
        except KernelError:
            sev_supported = sev_es_supported = sev_snp_supported = False
        else:
            if sev_snp_supported:
                sev_snp_supported = is_sev_snp_initialized(k)

    g.sev_enabled = sev_supported
    g.sev_es_enabled = sev_es_supported
    g.sev_snp_enabled = sev_snp_supported


def _sev_asids(k: Kernel) -> tuple[bool, bool, bool]:
    # The part of sev_hardware_setup() that allocates, up to its label "out": whether there is SEV, -ES, -SNP.
    g = k[Svm]
    if not g.sev_enabled or not g.npt_enabled:
        return False, False, False

    if (
        not k.features["sev"]
        or WARN_ON_ONCE(
            k,
            not boot_cpu_has(k, "X86_FEATURE_DECODEASSISTS"),
            "!boot_cpu_has(X86_FEATURE_DECODEASSISTS)",
        )
        or WARN_ON_ONCE(
            k, not boot_cpu_has(k, "X86_FEATURE_FLUSHBYASID"), "!boot_cpu_has(X86_FEATURE_FLUSHBYASID)"
        )
    ):
        return False, False, False

    g.max_sev_asid = MAX_SEV_ASID
    g.min_sev_asid = MIN_SEV_ASID if k.features["sev_es"] else 1

    g.sev_asid_bitmap = bitmap_zalloc(k, "sev_asid_bitmap")
    if not g.sev_asid_bitmap:
        return False, False, False

    g.sev_reclaim_asid_bitmap = bitmap_zalloc(k, "sev_reclaim_asid_bitmap")
    if not g.sev_reclaim_asid_bitmap:
        bitmap_free(k, g.sev_asid_bitmap)
        g.sev_asid_bitmap = None
        return False, False, False

    _capacity(k, "MISC_CG_RES_SEV", g.max_sev_asid - g.min_sev_asid + 1, "sev_asid_count")

    if not g.sev_es_enabled or not k.features["sev_es"]:
        return True, False, False

    if not g.lbrv:
        WARN_ONCE(k, not k.features["lbrv"], "LBRV must be present for SEV-ES support")
        return True, False, False

    _capacity(k, "MISC_CG_RES_SEV_ES", g.min_sev_asid - 1, "sev_es_asid_count")
    return True, True, g.sev_snp_enabled and k.features["host_sev_snp"]


def _capacity(k: Kernel, type: str, count: int, variable: str) -> None:
    try:
        misc_cg_set_capacity(k, type, count)
    except KernelError:
        WARN_ON_ONCE(k, True, f"misc_cg_set_capacity({type}, {variable})")


@kernel_function()
def sev_hardware_unsetup(k: Kernel) -> None:
    """Undo sev_hardware_setup(), if SEV came up."""
    g = k[Svm]
    if not g.sev_enabled:
        return

    with unchecked:
        sev_flush_asids(k)

    bitmap_free(k, g.sev_asid_bitmap)
    bitmap_free(k, g.sev_reclaim_asid_bitmap)

    with unchecked:
        misc_cg_set_capacity(k, "MISC_CG_RES_SEV", 0)
    with unchecked:
        misc_cg_set_capacity(k, "MISC_CG_RES_SEV_ES", 0)

    sev_platform_shutdown(k)


@kernel_function(fails=ENOMEM)
def sev_cpu_init(k: Kernel, sd: svm_cpu_data) -> None:
    """Allocate one CPU's table of the VMCBs that last used each ASID."""
    if not k[Svm].sev_enabled:
        return

    sd.sev_vmcbs = kcalloc(k, "sev_vmcbs")
    if not sd.sev_vmcbs:
        raise KernelError(ENOMEM)
