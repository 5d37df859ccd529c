//! From the boot loader to [`crate::main`]: what the device tree tells.

use core::arch::global_asm;

use super::DEVICES;
use crate::memory::{Machine, Range, physical_address, virtual_address};

global_asm!(include_str!("boot.s"));

#[unsafe(no_mangle)]
extern "C" fn boot(device_tree: usize) -> ! {
    let address = core::ptr::with_exposed_provenance(virtual_address(device_tree));
    // SAFETY: the boot loader put a device tree there, and it stays: it is what is reserved.
    let tree = unsafe { fdt::Fdt::from_ptr(address) }.expect("a device tree");
    let memory = tree.memory().regions().next().expect("memory");
    let ram = Range::of(memory.starting_address.addr(), memory.size.expect("memory has a size"));
    let chosen = |name| tree.find_node("/chosen")?.property(name)?.as_usize();
    let initrd = chosen("linux,initrd-start").zip(chosen("linux,initrd-end"));
    let reserved = Range::of(physical_address(address.addr()), tree.total_size());
    crate::main(Machine {
        ram,
        initrd: initrd.map(|(start, end)| Range { start, end }),
        reserved: Some(reserved),
        devices: DEVICES,
        command_line: tree.chosen().bootargs().unwrap_or_default(),
    })
}
