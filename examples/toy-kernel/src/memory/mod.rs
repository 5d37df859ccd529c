//! Memory: one heap over all that is free, from which page frames come too; all of it mapped once for the kernel,
//! at [`PHYS_OFFSET`], every page writable or executable and none both.

pub mod address_space;
pub mod frame;
pub mod page_table;
pub mod stack;

use core::{ptr, slice};

use buddy_system_allocator::LockedHeap;
use spin::{Mutex, Once};

pub use self::address_space::AddressSpace;
use self::frame::PAGE;
use self::page_table::{Access, Bits, Leaf, Owner, PageTable};
use crate::arch::{PHYS_OFFSET, paging};

/// What the boot code knows of the machine. Addresses are physical.
pub struct Machine {
    /// Where memory is. The kernel is in it.
    pub ram: Range,
    /// The archive of programs.
    pub initrd: Option<Range>,
    /// What else has to stay as it is, in that memory or elsewhere.
    pub reserved: Option<Range>,
    /// Where devices are.
    pub devices: &'static [Range],
    /// The boot parameters.
    pub command_line: &'static str,
}

/// A range of physical addresses.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub start: usize,
    pub end: usize,
}

impl Range {
    pub const fn of(start: usize, len: usize) -> Self {
        Self { start, end: start + len }
    }

    /// The whole pages that it touches.
    fn pages(self) -> Self {
        Self { start: self.start & !(PAGE - 1), end: self.end.next_multiple_of(PAGE) }
    }
}

/// There is no memory.
#[derive(Clone, Copy, Debug)]
pub struct OutOfMemory;

#[global_allocator]
static HEAP: LockedHeap<32> = LockedHeap::empty();

/// The kernel's own page table. Those of processes share its part of it.
static KERNEL: Once<Mutex<PageTable>> = Once::new();

unsafe extern "C" {
    static kernel_start: u8;
    static text_start: u8;
    static text_end: u8;
    static rodata_start: u8;
    static rodata_end: u8;
    static kernel_end: u8;
}

/// Where physical memory is mapped.
pub const fn virtual_address(physical: usize) -> usize {
    PHYS_OFFSET + physical
}

/// What is mapped at an address of the kernel's.
pub const fn physical_address(address: usize) -> usize {
    address - PHYS_OFFSET
}

/// Where the kernel itself is.
pub fn kernel_range() -> Range {
    Range {
        start: physical_address((&raw const kernel_start).addr()),
        end: physical_address((&raw const kernel_end).addr()),
    }
}

/// Makes the heap of what is free, then maps all memory in a new table and puts that to use.
pub fn init(machine: &Machine) {
    let mut taken =
        [Some(kernel_range()), machine.initrd.map(Range::pages), machine.reserved.map(Range::pages)];
    taken.sort_by_key(|range| range.map_or(usize::MAX, |range| range.start));
    let taken = taken.into_iter().flatten().filter(|range| range.end > machine.ram.start);
    let mut free = machine.ram.start.next_multiple_of(PAGE);
    for range in taken {
        add_to_heap(free, range.start);
        free = free.max(range.end);
    }
    add_to_heap(free, machine.ram.end & !(PAGE - 1));

    let table = kernel_table(machine).expect("memory for the kernel's page table");
    let table = KERNEL.call_once(|| Mutex::new(table)).lock();
    // SAFETY: it maps all memory, the kernel's included, and stays.
    unsafe { table.activate() };
}

fn add_to_heap(start: usize, end: usize) {
    if start < end {
        // SAFETY: this memory is mapped, free, and added once: the gaps between what is taken do not overlap.
        unsafe { HEAP.lock().add_to_heap(virtual_address(start), virtual_address(end)) };
    }
}

fn kernel_table(machine: &Machine) -> Result<PageTable, OutOfMemory> {
    let text = (&raw const text_start).addr()..(&raw const text_end).addr();
    let read_only = (&raw const rodata_start).addr()..(&raw const rodata_end).addr();
    let mut table = PageTable::new()?;
    for physical in (machine.ram.start..machine.ram.end).step_by(PAGE) {
        let address = virtual_address(physical);
        let access = match address {
            _ if text.contains(&address) => Access::Execute,
            _ if read_only.contains(&address) => Access::Read,
            _ => Access::Write,
        };
        table.map(address, Leaf { physical, access, owner: Owner::Kernel })?;
    }
    if let Some(Range { start, end }) = machine.reserved.map(Range::pages) {
        for physical in (start..end).step_by(PAGE) {
            let leaf = Leaf { physical, access: Access::Read, owner: Owner::Kernel };
            table.map(virtual_address(physical), leaf)?;
        }
    }
    for device in machine.devices {
        for physical in (device.start..device.end).step_by(PAGE) {
            let leaf = Leaf { physical, access: Access::Device, owner: Owner::Kernel };
            table.map(virtual_address(physical), leaf)?;
        }
    }
    Ok(table)
}

/// The kernel's page table.
pub fn kernel() -> &'static Mutex<PageTable> {
    KERNEL.get().expect("memory is set up first")
}

/// Gives pages of the kernel's that begin at `address` another access; `None` is none at all.
pub fn protect(address: usize, len: usize, access: Option<Access>) {
    let mut table = kernel().lock();
    for page in (address..address + len).step_by(PAGE) {
        let leaf =
            access.map(|access| Leaf { physical: physical_address(page), access, owner: Owner::Kernel });
        table.set(page, leaf);
        paging::flush(page);
    }
}

/// What the boot loader put into memory, as long as the kernel runs.
pub fn boot_module(range: Range) -> &'static [u8] {
    let start = ptr::with_exposed_provenance(virtual_address(range.start));
    // SAFETY: the boot loader put it there, it is mapped, and `init` gives these pages to nobody.
    unsafe { slice::from_raw_parts(start, range.end - range.start) }
}

/// Bytes that are allocated now.
pub fn in_use() -> usize {
    HEAP.lock().stats_alloc_actual()
}

/// What a walk through a page table found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    /// Pages that are mapped.
    pub pages: usize,
    /// Those that the kernel can execute.
    pub executable: usize,
    /// Those that can be written and executed: there are none.
    pub both: usize,
}

impl Walk {
    /// Walks `table`, page by page.
    pub fn through(table: &PageTable) -> Self {
        let mut walk = Self::default();
        table.for_each(&mut |bits: Bits| {
            walk.pages += 1;
            walk.executable += usize::from(bits.kernel_execute);
            walk.both += usize::from(bits.write && (bits.kernel_execute || bits.user_execute));
        });
        walk
    }
}
