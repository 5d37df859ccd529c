//! From the boot loader to [`crate::main`]: what the PVH protocol tells.

use core::arch::global_asm;
use core::ffi::CStr;
use core::ptr;

use crate::memory::{Machine, Range, virtual_address};

global_asm!(include_str!("boot.s"), options(att_syntax));

/// `struct hvm_start_info`.
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    acpi: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// `struct hvm_modlist_entry`.
#[repr(C)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

/// `struct hvm_memmap_table_entry`.
#[repr(C)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

const RAM: u32 = 1;

/// Memory below this is the firmware's.
const FIRST_MIB: u64 = 0x10_0000;

#[unsafe(no_mangle)]
extern "C" fn boot(start_info: usize) -> ! {
    let info: *const StartInfo = pointer(start_info as u64);
    // SAFETY: the boot protocol says that it is there, and the boot page table maps the first GiB.
    let info = unsafe { info.read() };
    let memory = (0..info.memory_map_entries as usize).map(|index| {
        let entry = pointer::<MemoryMapEntry>(info.memory_map).wrapping_add(index);
        // SAFETY: as above; the map has so many entries.
        unsafe { entry.read() }
    });
    let ram = memory
        .filter(|entry| entry.kind == RAM && entry.address >= FIRST_MIB)
        .map(|entry| Range::of(entry.address as usize, entry.size as usize))
        .next()
        .expect("memory above the first MiB");
    let initrd = (info.modules > 0).then(|| {
        // SAFETY: as above; there is a module.
        let module = unsafe { pointer::<Module>(info.module_list).read() };
        Range::of(module.address as usize, module.size as usize)
    });
    // SAFETY: as above; the string ends with 0, and stays: it is what is reserved.
    let command_line = unsafe { CStr::from_ptr(pointer(info.command_line)) };
    let reserved = Range::of(info.command_line as usize, command_line.count_bytes() + 1);
    let command_line = command_line.to_str().unwrap_or_default();
    crate::main(Machine { ram, initrd, reserved: Some(reserved), devices: &[], command_line })
}

fn pointer<T>(physical: u64) -> *const T {
    ptr::with_exposed_provenance(virtual_address(physical as usize))
}
